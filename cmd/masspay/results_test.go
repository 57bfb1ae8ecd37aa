package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
)

// reconcile --results writes what changed where its run wrote it, and nothing over
// another batch's result.
func TestReconcileWritesResultsAgain(t *testing.T) {
	t.Parallel()
	n := newNight(t, 200, gatesim.Config{OutcomeAfter: 500 * time.Millisecond})
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(n.folder, name))
		require.NoError(t, err)
		return string(b)
	}
	rows := func(name, id string) {
		n.file(name, 2)
		text := strings.ReplaceAll(read(name), ";k-", ";"+id)
		require.NoError(t, os.WriteFile(filepath.Join(n.folder, name), []byte(text), 0o600))
	}
	rows("one.csv", "one-")
	rows("two.csv", "two-")
	rows("three.csv", "three-")
	require.Equal(t, 0, n.masspay("run", "one.csv", "-o", "shared.csv", "--wait", "0"))
	require.Equal(t, 0, n.masspay("run", "two.csv", "-o", "shared.csv", "--wait", "0"))
	require.Equal(t, 0, n.masspay("run", "three.csv", "-o", "own.csv", "--wait", "0"))
	require.NotContains(t, read("own.csv"), ";paid;")
	require.Eventually(t, func() bool { return n.masspay("reconcile") == 0 }, time.Minute, 50*time.Millisecond)
	require.NotContains(t, read("own.csv"), ";paid;")
	require.Equal(t, 0, n.masspay("reconcile", "--results"), "also what changed before, by whatever")
	again := read("own.csv")
	require.Equal(t, 0, n.masspay("reconcile", "--results"))
	require.Equal(t, again, read("own.csv"))
	require.Equal(t, 2, strings.Count(read("own.csv"), ";paid;"))
	require.Equal(t, 2, strings.Count(read("shared.csv"), ";two-"), "the result of two.csv, which is there by now")
	require.Equal(t, 2, strings.Count(read("shared.csv"), ";paid;"))
	require.Contains(t, n.said.String(), "its result is not written again: "+filepath.Join(n.folder, "shared.csv"))
	require.Equal(t, 1, strings.Count(n.said.String(), "result: "+filepath.Join(n.folder, "own.csv")), "it was written again once")
	require.Equal(t, 0, n.masspay("reconcile"))
}
