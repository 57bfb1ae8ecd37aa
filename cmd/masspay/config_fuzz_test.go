package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A configuration is good, or every problem of it has words.
func FuzzConfig(f *testing.F) {
	sample, err := os.ReadFile("../../samples/masspay.yaml")
	require.NoError(f, err)
	f.Add(sample, "GATE_RATE", "5")
	f.Add([]byte(fmt.Sprintf(testConfig, "http://127.0.0.1:1")), "GATE_TIMEOUT", "1s")
	f.Add([]byte("gate: [1"), "CALLBACKS_ALLOW", "10.0.0.0/8,x")
	f.Add([]byte("gate:\n  rate: .nan\n"), "GATE_RATE", "NaN")
	f.Add([]byte("a: &a [*a]"), "LIMITS_RUN_TOTAL", "5KGS")
	path := filepath.Join(f.TempDir(), "masspay.yaml")
	f.Fuzz(func(t *testing.T, text []byte, name, value string) {
		require.NoError(t, os.WriteFile(path, text, 0o600))
		c, err := loadConfig(path, map[string]string{"MASSPAY_" + name: value})
		if err != nil {
			var e *failure
			require.True(t, errors.As(err, &e))
			require.Equal(t, exitConfig, e.code)
			require.Contains(t, e.Error(), "nothing was sent")
			require.NotContains(t, strings.Join(e.lines, "\n"), "strconv.")
			return
		}
		require.True(t, c.Gate.Rate > 0 && c.Gate.Rate <= 1e6, "%v", c.Gate.Rate)
		require.True(t, c.Gate.Timeout > 0 && c.Gate.QuietPeriod > 0 && c.Gate.StatusAfter > 0)
		require.True(t, c.Gate.Workers > 0 && c.Gate.Burst > 0 && c.Gate.Attempts > 0)
		require.LessOrEqual(t, c.Gate.Timeout, 24*time.Hour)
	})
}
