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
	rows("four.csv", "four-")
	rows("five.csv", "five-")
	require.Equal(t, 0, n.masspay("run", "one.csv", "-o", "shared.csv", "--wait", "0"))
	require.Equal(t, 0, n.masspay("run", "two.csv", "-o", "shared.csv", "--wait", "0"))
	require.Equal(t, 0, n.masspay("run", "three.csv", "-o", "own.csv", "--wait", "0"))
	require.NotContains(t, read("own.csv"), ";paid;")
	require.Equal(t, 0, n.masspay("run", "four.csv", "-o", "reported.csv", "--wait", "0"))
	require.Equal(t, 0, n.masspay("run", "five.csv", "-o", "noted.csv", "--wait", "0"))
	require.Eventually(t, func() bool { return n.masspay("reconcile") == 0 }, time.Minute, 50*time.Millisecond)
	require.NotContains(t, read("own.csv"), ";paid;")
	// A report is masspay's too; what a person has written is not.
	require.Equal(t, 0, n.masspay("report", "four.csv", "--state", "paid", "-o", "selected.csv"))
	require.Equal(t, 0, n.masspay("report", "three.csv", "-o", "copy.csv"), "the result's place stays where the run wrote it")
	before := read("reported.csv")
	require.Equal(t, 0, n.masspay("report", "four.csv", "-o", "reported.csv"))
	require.NotEqual(t, before, read("reported.csv"))
	noted := read("noted.csv") + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(n.folder, "noted.csv"), []byte(noted), 0o600))
	require.Equal(t, 0, n.masspay("reconcile", "--results"), "also what changed before, by whatever")
	require.Equal(t, noted, read("noted.csv"))
	require.Contains(t, n.said.String(), "its result is not written again: "+filepath.Join(n.folder, "noted.csv")+" is not what masspay has written there")
	again := read("own.csv")
	require.Equal(t, 0, n.masspay("reconcile", "--results"))
	require.Equal(t, again, read("own.csv"))
	require.Equal(t, 2, strings.Count(read("own.csv"), ";paid;"))
	require.Equal(t, 2, strings.Count(read("shared.csv"), ";two-"), "the result of two.csv, which is there by now")
	require.Equal(t, 2, strings.Count(read("shared.csv"), ";paid;"))
	require.Equal(t, 2, strings.Count(read("reported.csv"), ";paid;"))
	require.NotContains(t, n.said.String(), "its result is not written again: "+filepath.Join(n.folder, "shared.csv"), "that was told when it was replaced")
	require.Contains(t, n.said.String(), "shared.csv was the result of batch ")
	require.NotContains(t, n.said.String(), "its result is not written again: "+filepath.Join(n.folder, "reported.csv"))
	require.Equal(t, 1, strings.Count(n.said.String(), "result: "+filepath.Join(n.folder, "own.csv")), "it was written again once")
	require.Equal(t, 0, n.masspay("reconcile"))
}
