package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

func TestFlow(t *testing.T) {
	t.Parallel()
	var f store.Flow
	at := time.Date(2026, 11, 27, 2, 0, 0, 0, time.UTC)
	add := func(source payout.Source, kind payout.Kind, was, is payout.State, effect payout.Effect, took time.Duration) {
		p := payout.Payout{State: is, FirstSent: at}
		if is.Final() {
			p.FinalAt = at.Add(7 * time.Second)
		}
		f.Add(&payout.Event{Source: source, Kind: kind, Took: took, At: at}, &store.Change{Was: was, After: p, Effect: effect})
	}
	add(payout.FromRun, payout.Claimed, payout.StateNew, payout.StateSending, payout.Changed, 0)
	add(payout.FromRun, payout.Accepted, payout.StateSending, payout.StateAccepted, payout.Changed, 90*time.Millisecond)
	add(payout.FromRun, payout.Doubtful, payout.StateSending, payout.StateUnknown, payout.Changed, time.Minute)
	add(payout.FromRun, payout.Unsent, payout.StateSending, payout.StateNew, payout.Changed, 0)
	add(payout.FromStatus, payout.NotSeen, payout.StateUnknown, payout.StateUnknown, payout.Noted, 50*time.Millisecond)
	add(payout.FromStatus, payout.Silent, payout.StateUnknown, payout.StateUnknown, payout.Noted, -time.Second)
	add(payout.FromStatus, payout.Final, payout.StateUnknown, payout.StatePaid, payout.Changed, 0)
	add(payout.FromCallback, payout.Final, payout.StatePaid, payout.StatePaid, payout.Noted, 0)
	add(payout.FromCallback, payout.Final, payout.StateAccepted, payout.StateDeclined, payout.Changed, 0)
	require.Equal(t, []int64{1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1}, f[:store.Freed+1])
	require.Equal(t, []int64{3, 2}, []int64{f.Answers(), f.Outcomes()})
	counts, sum := f.Histogram(store.AnswerTimes)
	require.Equal(t, []int64{0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, counts)
	require.Equal(t, time.Minute+90*time.Millisecond, sum)
	require.Equal(t, []int64{2, 1, 2}, []int64{f.N(store.AnswerTimes), f.N(store.QuestionTimes), f.N(store.OutcomeTimes)})
	bound, beyond, ok := f.Quantile(store.AnswerTimes, 0.5)
	require.Equal(t, []any{100 * time.Millisecond, false, true}, []any{bound, beyond, ok})
	bound, beyond, _ = f.Quantile(store.AnswerTimes, 0.95)
	require.Equal(t, []any{30 * time.Second, true}, []any{bound, beyond})
	bound, _, _ = f.Quantile(store.OutcomeTimes, 0.5)
	require.Equal(t, 15*time.Second, bound)
	_, _, ok = (&store.Flow{}).Quantile(store.AnswerTimes, 0.5)
	require.False(t, ok)
	g := f
	g.Plus(&f)
	require.Equal(t, int64(6), g.Answers())
	for _, times := range []store.Times{store.AnswerTimes, store.QuestionTimes, store.OutcomeTimes} {
		counts, _ := g.Histogram(times)
		require.Len(t, counts, len(times.Bounds())+1)
	}
}
