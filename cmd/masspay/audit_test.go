package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/seal"
)

// A result that the store would not make again shows, whatever the log says of it; one of
// before something changed says nothing.
func TestAuditHoldsResultsAgainstTheStore(t *testing.T) {
	t.Parallel()
	n := newNight(t, 200, gatesim.Config{})
	n.file("pay.csv", 3)
	require.Equal(t, 0, n.masspay("run", "pay.csv", "-o", "result.csv", "--wait", "10s"))
	require.Equal(t, 0, n.masspay("report", "pay.csv", "-o", "again.csv"))
	require.Equal(t, 0, n.masspay("audit", "verify"))
	require.Contains(t, n.said.String(), "results: 2 files on this machine as written; the newest of each batch: 1 of 1 as the store makes it now")

	text, err := os.ReadFile(filepath.Join(n.folder, "store.key"))
	require.NoError(t, err)
	key, err := seal.ParseKey(string(text))
	require.NoError(t, err)
	s, err := bolt.Open(t.Context(), bolt.Options{Path: filepath.Join(n.folder, n.store), Key: key})
	require.NoError(t, err)
	var last store.Run
	for r, err := range s.Runs(t.Context()) {
		require.NoError(t, err)
		if r.End != nil && r.End.ResultSum != "" {
			last = r
		}
	}
	end := *last.End
	end.ResultSum, end.Result = "00"+end.ResultSum[2:], "/nowhere"
	end.At, end.ResultAt = time.Now(), time.Now()
	number, err := s.BeginRun(t.Context(), store.Run{Command: "run", Batch: last.Batch, Version: last.Version})
	require.NoError(t, err)
	require.NoError(t, s.EndRun(t.Context(), number, end))
	require.NoError(t, s.Close())
	require.Equal(t, 1, n.masspay("audit", "verify"))
	require.Contains(t, n.said.String(), "is not what the store makes now")
	n.file("more.csv", 1)
	require.Equal(t, 0, n.masspay("run", "more.csv", "-o", "more.out", "--wait", "10s"))
	require.Equal(t, 0, n.masspay("audit", "verify"), "the store has changed since")
}
