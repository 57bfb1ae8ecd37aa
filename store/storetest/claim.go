package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

func testClaim(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 10)
	b := Load(t, s, "a", rows)
	first := Claim(t, s, b, 4)
	second := Claim(t, w.Open(t), b, 4)
	third := Claim(t, s, b, 4)
	require.Empty(t, Claim(t, s, b, 4))
	all := slices.Concat(first, second, third)
	require.Len(t, all, 10)
	for i, c := range all {
		require.Equal(t, rows[i].Key, c.Key)
		require.Equal(t, rows[i].Cells, c.Cells)
		require.Equal(t, Columns, c.Columns)
		require.Equal(t, payout.StateSending, c.State)
		require.Equal(t, 1, c.Attempt)
	}
	require.NotEqual(t, first[0].Owner, second[0].Owner)
}

func testClaimSkip(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 6)
	b := Load(t, s, "a", rows)
	skip := []payout.Key{rows[0].Key, rows[2].Key}
	for range 2 {
		c, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: host, Skip: skip}))
		require.NoError(t, err)
		require.Len(t, c, 2)
	}
	c := Claim(t, s, b, 10)
	require.Len(t, c, 2, "what was left out is still there")
	require.Equal(t, rows[0].Key, c[0].Key)
}

func testClaimConcurrent(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 400))
	var mu sync.Mutex
	held := map[payout.Key]int{}
	var wg sync.WaitGroup
	for range 4 {
		mine := w.Open(t)
		wg.Go(func() {
			for {
				c, err := Payouts(mine.Claim(t.Context(), store.Claim{Batch: b.ID, N: 7, Host: host}))
				if err != nil || len(c) == 0 {
					return
				}
				mu.Lock()
				for _, p := range c {
					held[p.Key]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, held, 400)
	for k, n := range held {
		require.Equal(t, 1, n, k)
	}
}

func testFreed(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 5))
	c := Claim(t, s, b, 5)
	Apply(t, s, answer(c[3], payout.Released))
	Apply(t, s, answer(c[1], payout.Unsent))
	again := Claim(t, s, b, 5)
	require.Len(t, again, 2)
	require.Equal(t, c[1].Key, again[0].Key)
	require.Equal(t, 2, again[0].Attempt)
	require.Equal(t, c[3].Key, again[1].Key)
	late := Apply(t, s, answer(c[1], payout.Unsent)) // of attempt 1
	require.Equal(t, payout.Ignored, late.Effect)
	require.Empty(t, Claim(t, s, b, 5))
}

func testRecover(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 5))
	dying := w.Open(t)
	require.Len(t, Claim(t, dying, b, 3), 3)
	w.Kill(t, dying)
	n, err := s.Recover(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Len(t, Claim(t, s, b, 10), 2, "what the dead held may have been sent")
	for _, r := range collect(t, s.List(t.Context(), store.Filter{States: []payout.State{payout.StateUnknown}, Events: true})) {
		require.Equal(t, payout.Orphaned, r.Events[len(r.Events)-1].Kind)
		require.False(t, r.PollAt.IsZero())
	}
	n, err = s.Recover(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func testRecoverLiving(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 5))
	living := w.Open(t)
	require.Len(t, Claim(t, living, b, 3), 3)
	require.Len(t, Claim(t, s, b, 1), 1)
	n, err := s.Recover(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

// An event lands on the payout of its key, whatever number it brings.
func testNumberIsAHint(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 3))
	c := Claim(t, s, b, 3)
	for _, number := range []uint64{c[0].Number, 0, c[1].Number, 1 << 40} {
		e := answer(c[1], payout.Progress)
		e.Number, e.Source, e.Status = number, payout.FromStatus, fmt.Sprint("word", number)
		got := Apply(t, s, e)
		require.Equal(t, c[1].Key, got.After.Key)
		require.Equal(t, e.Status, got.After.Reported.Status)
	}
	for _, other := range []store.Claimed{c[0], c[2]} {
		r, err := s.Get(t.Context(), other.Key)
		require.NoError(t, err)
		require.Equal(t, payout.StateSending, r.State)
	}
}
