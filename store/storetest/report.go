package storetest

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

func testEarly(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 2)
	report := proven(rows[1], payout.StatePaid)
	c := Apply(t, s, report)
	require.True(t, c.Kept)
	require.Equal(t, payout.Changed, c.Effect)
	report.At = report.At.Add(time.Minute)
	c = Apply(t, s, report)
	require.True(t, c.Kept)
	require.Equal(t, payout.Ignored, c.Effect, "a repeat is kept once")
	c = Apply(t, s, payout.Event{Key: rows[0].Key, Kind: payout.Irrelevant, Source: payout.FromCallback, At: time.Now()})
	require.False(t, c.Kept, "a purchase of that id is no one's payout")
	c = Apply(t, s, payout.Event{Key: rows[0].Key, Kind: payout.Silent, Source: payout.FromStatus, At: time.Now()})
	require.False(t, c.Kept, "only what a gate reports waits")
	other := Rows("b", 2)
	for i := range 64 {
		r := proven(other[0], payout.StateDeclined)
		r.Code = strconv.Itoa(i)
		require.True(t, Apply(t, s, r).Kept)
	}
	_, err := s.Apply(t.Context(), proven(other[1], payout.StatePaid), proven(other[0], payout.StatePaid))
	require.ErrorIs(t, err, store.ErrTooManyReports, "it is not said to be kept")
	waiting, err := s.Early(t.Context(), 100)
	require.NoError(t, err)
	require.Len(t, waiting, 65)
	of := map[payout.Key]int{}
	for _, e := range waiting {
		require.Empty(t, e.Customer+e.Account+e.Message, "they say nothing of customers")
		of[e.Key]++
	}
	require.Equal(t, map[payout.Key]int{rows[1].Key: 1, other[0].Key: 64}, of)
	waiting, err = s.Early(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, waiting, 10)
	l, err := s.Load(t.Context(), BatchOf("a", rows), All(rows))
	require.NoError(t, err)
	require.Equal(t, 1, l.Early, "nothing of a commit that failed")
	claimed := Claim(t, s, l.Batch, 10)
	require.Len(t, claimed, 1)
	require.Equal(t, rows[0].Key, claimed[0].Key, "what the gate has paid is not sent")
	r, err := s.Get(t.Context(), rows[1].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StatePaid, r.State)
	require.NotZero(t, r.Flags&payout.Restored)
}

// What no file has asked for in a month is let go by a load, and nothing else is.
func testEarlyExpires(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 2)
	for i, days := range []int{29, 31} {
		report := proven(rows[i], payout.StatePaid)
		report.At = time.Now().AddDate(0, 0, -days)
		require.True(t, Apply(t, s, report).Kept)
	}
	Load(t, s, "b", Rows("b", 1))
	l, err := s.Load(t.Context(), BatchOf("a", rows), All(rows))
	require.NoError(t, err)
	require.Equal(t, 1, l.Early)
	claimed := Claim(t, s, l.Batch, 10)
	require.Len(t, claimed, 1)
	require.Equal(t, rows[1].Key, claimed[0].Key)
}

func testCancelled(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	b := Load(t, s, "monday", rows)
	sent := Claim(t, s, b, 1)
	Apply(t, s, answer(sent[0], payout.Accepted))
	for _, r := range rows {
		Apply(t, s, payout.Event{Key: r.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
	}
	require.Empty(t, Claim(t, s, b, 10))
	changed := []store.Row{Row(rows[1].Key.PaymentID, 5, 2)}
	broken := errors.New("broken")
	_, err := s.Load(t.Context(), BatchOf("broken", changed), func(yield func(store.Row, error) bool) {
		if yield(changed[0], nil) {
			yield(store.Row{}, broken)
		}
	})
	require.ErrorIs(t, err, broken)
	r, err := s.Get(t.Context(), rows[1].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StateCancelled, r.State, "an undone load brings nothing back")
	tuesday := Load(t, s, "tuesday", changed)
	c := Claim(t, s, tuesday, 10)
	require.Len(t, c, 1)
	require.EqualValues(t, 5, c[0].Amount.Minor)
	lines := collect(t, s.Lines(t.Context(), b.ID))
	require.Equal(t, payout.StateCancelled, lines[1].Payout.State, "the old batch's report stays")
	require.Equal(t, payout.StateAccepted, lines[0].Payout.State)
}

func testCancelledComesToLife(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 1)
	Load(t, s, "monday", rows)
	Apply(t, s, payout.Event{Key: rows[0].Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
	changed := append([]store.Row{Row(rows[0].Key.PaymentID, 5, 2)}, Rows("b", 10_000)...)
	other := w.Open(t)
	_, err := s.Load(t.Context(), BatchOf("tuesday", changed), func(yield func(store.Row, error) bool) {
		for i, r := range changed {
			if i == 10_000 {
				Apply(t, other, proven(rows[0], payout.StatePaid)) // it was paid by other means
			}
			if !yield(r, nil) {
				return
			}
		}
	})
	var conflict *store.ConflictError
	require.ErrorAs(t, err, &conflict)
	r, err := s.Get(t.Context(), rows[0].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StatePaid, r.State)
}

// What the gate reports about another payment of the id keeps the row from being sent
// and makes it no one's.
func testReportOfAnother(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	early := proven(rows[2], payout.StatePaid)
	early.Customer = "c-other"
	require.True(t, Apply(t, s, early).Kept)
	b := Load(t, s, "a", rows)
	loaded := proven(rows[0], payout.StateDeclined)
	loaded.Made = loaded.Made.AddDate(-1, 0, 0)
	change := Apply(t, s, loaded)
	require.Equal(t, payout.StateNew, change.After.State)
	require.Equal(t, payout.FieldDate, change.After.Field)
	claimed := Claim(t, s, b, 9)
	require.Len(t, claimed, 1)
	require.Equal(t, rows[1].Key, claimed[0].Key)
	for _, i := range []int{0, 2} {
		r, err := s.Get(t.Context(), rows[i].Key)
		require.NoError(t, err)
		require.Equal(t, payout.StateNew, r.State)
		require.True(t, r.NeedsCheck())
		require.Zero(t, r.Attempt)
	}
	got, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Zero(t, got.Unsent(), "neither waits to be sent")
	require.Equal(t, payout.StateDeclined, Apply(t, s, payout.Event{
		Key: rows[0].Key, Kind: payout.Resolved, Source: payout.FromPerson, Outcome: payout.StateDeclined, At: time.Now(), Person: "jan@desk", Reason: "last year's",
	}).After.State)
}

// An id that was cancelled is not free where the gate has another's payment of it.
func testCancelledOfAnother(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 2)
	Load(t, s, "monday", rows)
	for _, r := range rows {
		Apply(t, s, payout.Event{Key: r.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
	}
	other := proven(rows[0], payout.StatePaid)
	other.Customer = "c-other"
	require.Equal(t, payout.StateCancelled, Apply(t, s, other).After.State)
	again := append(Rows("a", 2), Rows("b", 1)...)
	l, err := s.Load(t.Context(), BatchOf("tuesday", again), All(again))
	require.NoError(t, err)
	require.Equal(t, 2, l.New)
	require.Equal(t, 1, l.Known)
	for _, c := range Claim(t, s, l.Batch, 9) {
		require.NotEqual(t, rows[0].Key, c.Key)
	}
	first, second := rows[0].Key, rows[1].Key
	found, err := s.Lookup(t.Context(), []payout.Key{first, second})
	require.NoError(t, err)
	require.True(t, found[first].OfAnother())
	require.NotEqual(t, payout.StateCancelled, found[second].State)
}

func testApplyConcurrent(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 60))
	c := Claim(t, s, b, 60)
	var wg sync.WaitGroup
	for _, mine := range []store.Store{s, w.Open(t), w.Open(t)} {
		wg.Go(func() {
			for _, p := range c {
				_, err := mine.Apply(t.Context(), answer(p, payout.Accepted), outcomeOf(p.Key, payout.StatePaid))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, 60, got.InState(payout.StatePaid))
	for _, r := range collect(t, s.List(t.Context(), store.Filter{Events: true})) {
		require.Len(t, r.Events, 3, "claimed, accepted, outcome: repeats are not kept")
	}
}

func testMasked(t *testing.T, w World, s store.Store) {
	text := "no money for SECRETNAME, account " + account
	b := Load(t, s, "a", Rows("a", 2))
	c := Claim(t, s, b, 2)
	Apply(t, s, answer(c[0], payout.Accepted))
	early := Row("early", 7, 2)
	for _, e := range []payout.Event{
		{Key: c[0].Key, Kind: payout.Final, Source: payout.FromStatus, Outcome: payout.StateDeclined, Reported: payout.Reported{Status: "decline"}},
		{Key: c[1].Key, Kind: payout.Refused, Source: payout.FromRun, Attempt: 1, Tries: 1},
		{Key: early.Key, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StateDeclined, Reported: payout.Reported{Status: "decline"}, Customer: "c-early", Account: account},
	} {
		e.At, e.Message = time.Now(), text
		Apply(t, s, e)
	}
	clear := func() {
		for _, file := range w.Files(t) {
			require.NotContains(t, strings.ToLower(string(file)), "secretname")
			require.NotContains(t, string(file), account)
		}
	}
	clear()
	Load(t, s, "early", []store.Row{early})
	clear()
	for _, key := range []payout.Key{c[0].Key, c[1].Key, early.Key} {
		rec, err := s.Get(t.Context(), key)
		require.NoError(t, err)
		last := rec.Events[len(rec.Events)-1]
		require.Equal(t, "no money for SEC***ME, account 996***56", last.Message, key)
		if last.Match.Ours() || last.Source == payout.FromRun {
			require.Equal(t, last.Message, rec.Reported.Message)
		}
	}
}
