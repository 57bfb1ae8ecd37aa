package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

func testBatchPrefix(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 1))
	for _, n := range []int{4, 5, 12, 64} {
		got, err := s.Batch(t.Context(), b.ID[:n])
		require.NoError(t, err)
		require.Equal(t, b.ID, got.ID)
	}
	for _, id := range []string{"", "abc", "zzzz", b.ID + "0", strings.Repeat("0", 64)} {
		_, err := s.Batch(t.Context(), id)
		require.ErrorIs(t, err, store.ErrNoBatch, id)
	}
}

func testRuns(t *testing.T, _ World, s store.Store) {
	r := store.Run{Command: "run", User: "u", Host: "h", PID: 7, Version: "v", Config: "c", File: "f", Batch: "b", At: time.Now().UTC().Truncate(time.Second)}
	n, err := s.BeginRun(t.Context(), r)
	require.NoError(t, err)
	r.Number, r.Life = n, store.LifeGoesOn
	require.Equal(t, []store.Run{r}, collect(t, s.Runs(t.Context())), "it has not ended")
	b := Load(t, s, "a", Rows("a", 1))
	c := Claim(t, s, b, 1)
	end := store.RunEnd{At: r.At.Add(time.Minute), ExitCode: 4, Sent: 1, Error: "e"}
	require.NoError(t, s.EndRun(t.Context(), n, end))
	next, err := s.BeginRun(t.Context(), store.Run{Command: "status", At: r.At})
	require.NoError(t, err)
	require.Greater(t, next, n)
	Apply(t, s, answer(c[0], payout.Accepted))
	r.End, r.Life = &end, ""
	both := []store.Run{r, {Command: "status", At: r.At, Number: next, Life: store.LifeGoesOn}}
	require.Equal(t, both, collect(t, s.Runs(t.Context())))
	for before, want := range map[uint64][]store.Run{0: {both[1], both[0]}, next: {both[0]}, n: nil, next + 9: {both[1], both[0]}} {
		latest, err := s.LatestRuns(t.Context(), before, 2)
		require.NoError(t, err)
		require.Equal(t, len(want), len(latest))
		for i := range want {
			require.Equal(t, want[i], latest[i])
		}
	}
	latest, err := s.LatestRuns(t.Context(), 0, 1)
	require.NoError(t, err)
	require.Equal(t, both[1:], latest)
	rec, err := s.Get(t.Context(), c[0].Key)
	require.NoError(t, err)
	require.Equal(t, []uint64{n, next}, []uint64{rec.Events[0].Run, rec.Events[1].Run})
}

func testSealed(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 50))
	c := Claim(t, s, b, 50)
	Apply(t, s, answer(c[0], payout.Accepted))
	for _, file := range w.Files(t) {
		require.NotContains(t, string(file), "Secretname")
		require.NotContains(t, string(file), "996555123456")
	}
}

func testLookup(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	Load(t, s, "a", rows)
	known := rows[2].Key
	found, err := s.Lookup(t.Context(), []payout.Key{known, {ProjectID: 1234, PaymentID: "none"}, {ProjectID: 9, PaymentID: known.PaymentID}})
	require.NoError(t, err)
	require.Len(t, found, 1, "the same id in another project is another payout")
	require.Equal(t, rows[2].Key, found[known].Key)
	require.True(t, s.SameContent(found[known], rows[2].Method, rows[2].Canonical))
	require.False(t, s.SameContent(found[known], rows[2].Method, rows[1].Canonical))
	require.False(t, s.SameContent(found[known], "card", rows[2].Canonical))
}

func testRow(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	Load(t, s, "a", rows)
	r, err := s.Get(t.Context(), rows[1].Key)
	require.NoError(t, err)
	columns, l, err := s.Row(t.Context(), r.Payout, r.Places[0])
	require.NoError(t, err)
	require.Equal(t, Columns, columns)
	require.Equal(t, rows[1].Cells, l.Cells)
}
