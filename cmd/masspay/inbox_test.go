package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
)

// newInbox is a night with an inbox.
func newInbox(t *testing.T) *night {
	t.Helper()
	n := newNight(t, 50, gatesim.Config{OutcomeAfter: 20 * time.Millisecond, StatusLag: 200 * time.Millisecond})
	config, err := os.OpenFile(filepath.Join(n.folder, "masspay.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = config.WriteString("inbox:\n  folder: in\n  results: out\n")
	require.NoError(t, errors.Join(err, config.Close()))
	for _, folder := range []string{"in", "out"} {
		require.NoError(t, os.Mkdir(filepath.Join(n.folder, folder), 0o700))
	}
	return n
}

// arrives puts a file of so many rows there, with its control totals, and returns its SHA-256.
func (n *night) arrives(in string, rows int) string {
	n.t.Helper()
	n.file("new.csv", rows)
	text, err := os.ReadFile(filepath.Join(n.folder, "new.csv"))
	require.NoError(n.t, err)
	sum := fmt.Sprintf("%x", sha256.Sum256(text))
	require.NoError(n.t, os.Rename(filepath.Join(n.folder, "new.csv"), in))
	require.NoError(n.t, os.WriteFile(in+".ctl", []byte("sha256 "+sum+"\n"), 0o600))
	return sum
}

// An inbox that is stopped, or killed, in the middle of a file leaves the file where it is, and
// the next one pays the rest of it.
func TestInboxIsInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		n := newInbox(t)
		in := filepath.Join(n.folder, "in", "payouts.csv")
		sum := n.arrives(in, 60)
		cmd := n.command("inbox")
		cmd.Stderr = nil // a run that outlives it would keep it
		require.NoError(t, cmd.Start())
		n.after(5)
		require.NoError(t, cmd.Process.Signal(signal))
		err := cmd.Wait()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		if signal == syscall.SIGTERM {
			require.Equal(t, exitInterrupted, exit.ExitCode())
			require.Less(t, n.sim.Stats().Payouts, 60, "it was stopped in the middle")
		}
		require.FileExists(t, in)
		code := n.masspay("inbox")
		if signal == syscall.SIGKILL && code == exitUnexpected {
			// The run of the one that was killed went on, and its result came into the place of this
			// one's meanwhile, which is beside it: the file stays, and is taken up once more.
			require.FileExists(t, in)
			code = n.masspay("inbox")
		}
		require.Equal(t, 0, code, "%s", n.said.String())
		require.NoFileExists(t, in)
		require.NoFileExists(t, in+".ctl")
		require.Eventually(t, func() bool { // the run of the one that was killed ends, too
			owners, err := filepath.Glob(filepath.Join(n.folder, "*.owner-*"))
			return err == nil && len(owners) == 0
		}, time.Minute, 20*time.Millisecond)
		n.check("in/done/payouts."+sum[:12]+".csv", "out/payouts."+sum[:12]+".result.csv")
	}
}

// A file that comes under the name of one that is being paid is not put away with it, but paid.
func TestInboxFileIsReplaced(t *testing.T) {
	t.Parallel()
	n := newInbox(t)
	in := filepath.Join(n.folder, "in", "payouts.csv")
	n.arrives(in, 40)
	cmd := n.command("inbox")
	require.NoError(t, cmd.Start())
	n.after(5)
	sum := n.arrives(in, 60)
	require.NoError(t, cmd.Wait())
	require.FileExists(t, in)
	require.FileExists(t, in+".ctl")
	require.Contains(t, n.said.String(), "another file has come under its name since")
	require.Equal(t, 0, n.masspay("inbox"), "%s", n.said.String())
	require.NoFileExists(t, in)
	n.check("in/done/payouts."+sum[:12]+".csv", "out/payouts."+sum[:12]+".result.csv")
}

// Where an inbox was cut off between moving the control totals of a file and the file itself, the
// next one moves that, and does not wait for control totals for ever.
func TestInboxMoveIsCutOff(t *testing.T) {
	t.Parallel()
	n := newInbox(t)
	in := filepath.Join(n.folder, "in", "payouts.csv")
	sum := n.arrives(in, 5)
	require.Equal(t, 0, n.masspay("inbox"), "%s", n.said.String())
	done := filepath.Join(n.folder, "in", "done", "payouts."+sum[:12]+".csv")
	require.NoError(t, os.Rename(done, in))
	require.Equal(t, 0, n.masspay("inbox"), "%s", n.said.String())
	require.NoFileExists(t, in)
	require.FileExists(t, done)

	// The same file once more, and not yet whole: both are done, so nothing was cut off.
	text, err := os.ReadFile(done)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(in, text, 0o600))
	require.Equal(t, 0, n.masspay("inbox"), "%s", n.said.String())
	require.FileExists(t, in)
	require.Contains(t, n.said.String(), "left alone: no control totals")
	n.check("in/done/payouts."+sum[:12]+".csv", "out/payouts."+sum[:12]+".result.csv")
}

func TestWorse(t *testing.T) {
	t.Parallel()
	worst := exitDone
	for _, code := range []int{exitNotAllPaid, exitDone, exitOpen, exitHeld, exitFile, exitNotAllPaid} {
		worst = worse(worst, code)
	}
	require.Equal(t, exitFile, worst)
	require.Equal(t, exitInterrupted, worse(exitFile, exitInterrupted))
	require.Equal(t, 77, worse(exitInterrupted, 77), "one that is not known says more than any other")
}
