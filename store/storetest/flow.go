package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// What passes is counted by minute and batch, and over all, by every process together; a
// payout that two files bring counts for the one that it was sent for.
func testFlows(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 6)
	b := Load(t, s, "a", rows)
	again := Load(t, s, "b", append(rows[:2:2], Rows("b", 1)...))
	at := time.Date(2026, 11, 27, 2, 0, 59, 0, time.UTC)
	claimed := Claim(t, s, b, 6)
	var both sync.WaitGroup
	for i, other := range []store.Store{s, w.Open(t)} {
		both.Go(func() {
			for n, c := range claimed {
				if n%2 != i {
					continue
				}
				e := answer(c, payout.Accepted)
				e.At, e.Took = at.Add(time.Duration(n)*time.Second), 80*time.Millisecond
				Apply(t, other, e)
			}
		})
	}
	both.Wait()
	final := outcomeOf(claimed[0].Key, payout.StatePaid)
	final.At = at.Add(2 * time.Minute)
	Apply(t, s, final)
	Apply(t, s, final) // a callback that is repeated counts for nothing
	poll := payout.Event{Key: claimed[1].Key, Kind: payout.Silent, Source: payout.FromStatus, At: at.Add(2 * time.Minute), Took: time.Second, Host: host}
	Apply(t, s, poll)
	minutes, err := s.Minutes(t.Context(), b.ID)
	require.NoError(t, err)
	require.Len(t, minutes, 3)
	minute := at.Truncate(time.Minute)
	require.Equal(t, []time.Time{minute, minute.Add(time.Minute), minute.Add(2 * time.Minute)}, []time.Time{minutes[0].At, minutes[1].At, minutes[2].At})
	require.Equal(t, []int64{1, 5, 0}, []int64{minutes[0].Flow[store.Accepted], minutes[1].Flow[store.Accepted], minutes[2].Flow[store.Accepted]})
	require.Equal(t, []int64{1, 1, 5, 1}, []int64{minutes[2].Flow[store.Paid], minutes[2].Flow[store.Unchanged], minutes[1].N(store.AnswerTimes), minutes[2].N(store.QuestionTimes)})
	none, err := s.Minutes(t.Context(), again.ID)
	require.NoError(t, err)
	require.Empty(t, none)
	totals, err := s.Totals(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int64{6, 1, 1}, []int64{totals.Flow[store.Accepted], totals.Flow[store.Paid], totals.Flow[store.Unchanged]})
	require.Equal(t, []int64{1, 5, 1, 0}, []int64{totals.States[payout.StateNew], totals.States[payout.StateAccepted], totals.States[payout.StatePaid], totals.States[payout.StateSending]}, "each payout once")
	_, err = s.Minutes(t.Context(), "ffff")
	require.ErrorIs(t, err, store.ErrNoBatch)
}
