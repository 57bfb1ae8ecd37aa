package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// What is due is handed out in order, to one asker at a time.
func testDue(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 5))
	c := Claim(t, s, b, 5)
	now := time.Now()
	for i, minutes := range []int{3, 1, 2, -60} {
		e := answer(c[i], payout.Accepted)
		e.At = now.Add(time.Duration(minutes-60) * time.Minute)
		Apply(t, s, e)
	}
	e := answer(c[4], payout.Accepted)
	e.At = now.Add(time.Minute) // not due yet
	Apply(t, s, e)
	Apply(t, s, outcomeOf(c[3].Key, payout.StatePaid))
	at, err := s.NextDue(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, now.Add(-59*time.Minute), at, time.Minute)

	ask := store.Due{Batch: b.ID, Gate: host, N: 2, Lease: time.Minute}
	due, err := s.Due(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, due, 2)
	require.Equal(t, []payout.Key{c[1].Key, c[2].Key}, []payout.Key{due[0].Key, due[1].Key}, "the longest due first")
	other := w.Open(t)
	due, err = other.Due(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, due, 1, "what another one polls is due for no one else")
	require.Equal(t, c[0].Key, due[0].Key)
	due, err = s.Due(t.Context(), ask)
	require.NoError(t, err)
	require.Empty(t, due)
	for _, p := range c[:3] {
		r, err := s.Get(t.Context(), p.Key)
		require.NoError(t, err)
		require.Equal(t, payout.StateAccepted, r.State)
		require.Len(t, r.Events, 2, "bookkeeping is no event")
	}
	Apply(t, s, payout.Event{Key: c[0].Key, Kind: payout.PollDue, Source: payout.FromCallback, At: now})
	ask.Lease = 1000 * time.Hour // longer than anything is ever put off
	due, err = s.Due(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, due, 1)
	due, err = other.Due(t.Context(), ask)
	require.NoError(t, err)
	require.Empty(t, due, "a long lease is not taken for a clock that was set back")
	elsewhere, err := s.Due(t.Context(), store.Due{Gate: "https://other.example", N: 9, Lease: time.Minute})
	require.NoError(t, err)
	require.Empty(t, elsewhere)
}

// Two askers at once get no payout twice, and all of them together.
func testDueConcurrent(t *testing.T, w World, s store.Store) {
	const n = 300
	b := Load(t, s, "a", Rows("a", n))
	for _, c := range Claim(t, s, b, n) {
		e := answer(c, payout.Accepted)
		e.At = time.Now().Add(-time.Hour)
		Apply(t, s, e)
	}
	var mu sync.Mutex
	polled := map[payout.Key]int{}
	var wg sync.WaitGroup
	for range 4 {
		mine := w.Open(t)
		wg.Go(func() {
			for {
				due, err := mine.Due(t.Context(), store.Due{Gate: host, N: 7, Lease: time.Minute})
				if err != nil || len(due) == 0 {
					return
				}
				mu.Lock()
				for _, r := range due {
					polled[r.Key]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, polled, n)
	for k, times := range polled {
		require.Equal(t, 1, times, k)
	}
}

// The store's clock does not go backwards, and no faster than real time.
func testTick(t *testing.T, w World, s store.Store) {
	begun := time.Now()
	first := s.Tick()
	require.NotZero(t, first.Boot)
	other := w.Open(t)
	last := first
	for range 1000 {
		for _, mine := range []store.Store{s, other} {
			now := mine.Tick()
			d, ok := now.Since(last)
			require.True(t, ok, "moments of one store can be compared")
			require.GreaterOrEqual(t, d, time.Duration(0))
			last = now
		}
	}
	d, _ := last.Since(first)
	require.LessOrEqual(t, d, time.Since(begun)+time.Millisecond)
}
