package clock

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Another process has the same clock.
func TestProcessesShareTheClock(t *testing.T) {
	if os.Getenv("CLOCK_TEST_CHILD") != "" {
		now := Tick()
		_, err := os.Stdout.WriteString(strconv.FormatUint(now.Boot, 10) + " " + strconv.FormatInt(int64(now.At), 10) + "\n")
		require.NoError(t, err)
		os.Exit(0)
	}
	before := Tick()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestProcessesShareTheClock")
	cmd.Env = append(os.Environ(), "CLOCK_TEST_CHILD=1")
	out, err := cmd.Output()
	require.NoError(t, err)
	after := Tick()
	var boot uint64
	var at int64
	_, err = fmt.Sscan(string(out), &boot, &at)
	require.NoError(t, err)
	if boot != before.Boot {
		t.Skip("this system does not name its boots: ticks are not compared between processes")
	}
	require.Less(t, before.At, time.Duration(at))
	require.Less(t, time.Duration(at), after.At)
}
