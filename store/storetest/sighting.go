package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// pays makes a row that pays a customer's account.
func pays(id string, minor int64, customer, to string) store.Row {
	r := Row(id, minor, 2)
	r.Cells[6], r.Cells[8] = to, customer
	return r
}

// Rows are known again by account and amount, and customers by what they were last paid on.
func testResembling(t *testing.T, w World, s store.Store) {
	since := time.Now().Add(-time.Hour)
	look := func(rows ...store.Row) []store.Resemblance {
		t.Helper()
		out, err := w.Open(t).Resembling(t.Context(), Columns, since, rows)
		require.NoError(t, err)
		return out
	}
	ids := func(r store.Resemblance) [2]string { return [2]string{r.Twin.Key.PaymentID, r.Last.Key.PaymentID} }
	require.Nil(t, look(pays("x", 500, "ann", "1")), "nothing is known yet")

	rows := []store.Row{
		pays("a-1", 500, "ann", "1"), pays("a-2", 500, "bob", "2"), pays("a-3", 500, "bob", "2"), pays("a-4", 700, "eve", "4"), pays("a-5", 700, "", "5"),
	}
	b := Load(t, s, "a", rows)
	require.Nil(t, look(pays("x", 501, "ann", "1")), "another amount, and nothing was paid")
	require.Nil(t, look(pays("x", 500, "ann", "3")), "another account, and nothing was paid")
	require.Nil(t, look(rows[0]), "the payout itself")
	require.Nil(t, look(pays("a-1-r2", 500, "ann", "1")), "a retry of it")
	require.Equal(t, [2]string{"a-1", ""}, ids(look(pays("y", 1, "ann", "9"), pays("x", 500, "zoe", "1"))[1]))
	require.Equal(t, [2]string{"a-3", ""}, ids(look(pays("x", 500, "", "2"))[0]), "the newest")
	out, err := s.Resembling(t.Context(), Columns, time.Now().Add(time.Hour), []store.Row{pays("x", 500, "zoe", "1")})
	require.NoError(t, err)
	require.Nil(t, out, "that was too long ago")

	for i, outcome := range []payout.State{payout.StatePaid, payout.StatePaid, payout.StateDeclined, payout.StatePaid} {
		c := Claim(t, s, b, 1)[0]
		Apply(t, s, answer(c, payout.Accepted))
		if i == 0 {
			require.Equal(t, [2]string{"a-3", ""}, ids(look(pays("x", 500, "", "2"))[0]))
		}
		e := outcomeOf(c.Key, outcome)
		e.Amount = c.Amount
		Apply(t, s, e)
	}
	require.Equal(t, [2]string{"a-2", ""}, ids(look(pays("x", 500, "", "2"))[0]), "what was declined is no twin")
	require.Equal(t, [2]string{"", "a-1"}, ids(look(pays("x", 9, "ann", "3"))[0]), "ann was paid on account 1")
	require.Nil(t, look(pays("x", 9, "ann", "1")))
	require.Nil(t, look(pays("x", 9, "", "3")), "nobody's")

	// A file that was loaded and cancelled does not hide the account that was paid on.
	for i, name := range []string{"b", "c"} {
		wrong := pays("w-"+name, 500, "ann", "3"+name)
		Load(t, s, name, []store.Row{wrong})
		Apply(t, s, payout.Event{Key: wrong.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
		require.Equal(t, [2]string{"", "a-1"}, ids(look(pays("x", 9, "ann", "3"))[0]), i)
	}
	// Nor do many on the same account, open, cancelled or refused by the load.
	for i := range 12 {
		more := pays(fmt.Sprint("m-", i), 9, "ann", map[bool]string{true: "1", false: fmt.Sprint("9", i)}[i%2 == 0])
		b := BatchOf(fmt.Sprint("m", i), []store.Row{more})
		refuse := store.Allowance{Since: time.Now(), Ask: func(context.Context, iter.Seq2[store.Sighting, error]) error { return errors.New("no") }}
		_, err := s.Load(t.Context(), b, All([]store.Row{more}), refuse)
		require.Error(t, err)
		_, err = s.Load(t.Context(), b, All([]store.Row{more}))
		require.NoError(t, err)
		if i > 4 {
			Apply(t, s, payout.Event{Key: more.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
		}
		require.Equal(t, [2]string{"", "a-1"}, ids(look(pays("x", 8, "ann", "3"))[0]), i)
	}

	// An account is the same however it is written; a card is it where there is one.
	for _, written := range []string{" 1", "1-", "1."} {
		require.NotEmpty(t, ids(look(pays("x", 500, "zoe", written))[0])[0], written)
	}

	// An open one comes before a newer one that is paid.
	Load(t, s, "d", []store.Row{pays("d-1", 700, "tom", "4"), pays("d-2", 500, "tom", "1")})
	require.Equal(t, [2]string{"d-1", ""}, ids(look(pays("x", 700, "eve", "4"))[0]))
	Load(t, s, "e", []store.Row{pays("e-1", 500, "tom", "1")})
	e := proven(pays("e-1", 500, "tom", "1"), payout.StatePaid)
	e.Customer = "tom"
	Apply(t, s, e)
	require.Equal(t, [2]string{"d-2", ""}, ids(look(pays("x", 500, "", "1"))[0]))
}

// Of a customer with more payouts in one file than a store looks at in one go, the newest are
// remembered, wherever it begins anew.
func testManyOfOneCustomer(t *testing.T, w World, s store.Store) {
	rows := make([]store.Row, 10_010)
	for i := range rows {
		rows[i] = pays(fmt.Sprintf("one-%05d", i), 500, "ann", "1")
	}
	Load(t, s, "one", rows)
	paid := rows[9_998]
	e := proven(paid, payout.StatePaid)
	e.Customer = "ann"
	Apply(t, s, e)
	out, err := w.Open(t).Resembling(t.Context(), Columns, time.Now().Add(-time.Hour), []store.Row{pays("x", 9, "ann", "3")})
	require.NoError(t, err)
	require.Len(t, out, 1)
	require.Equal(t, paid.Key, out[0].Last.Key)
}

// A file with more known rows than a store looks at in one go, in another order, and with some
// that are new.
func testManyKnown(t *testing.T, _ World, s store.Store) {
	rows := make([]store.Row, 10_010)
	for i := range rows {
		rows[i] = pays(fmt.Sprintf("many-%05d", i), 500, fmt.Sprint("c-", i), "1")
	}
	Load(t, s, "first", rows[:len(rows)-5])
	again := slices.Clone(rows)
	slices.Reverse(again)
	b := BatchOf("again", again)
	got, err := s.Load(t.Context(), b, All(again))
	require.NoError(t, err)
	require.Equal(t, [2]int{5, len(rows) - 5}, [2]int{got.New, got.Known})
	n := 0
	for l, err := range s.Lines(t.Context(), b.ID) {
		require.NoError(t, err)
		require.Equal(t, again[n].Key, l.Payout.Key)
		n++
	}
	require.Len(t, rows, n)
	again[3] = pays(again[3].Key.PaymentID, 501, "c", "1") // one of the new ones, known by now, with another amount
	_, err = s.Load(t.Context(), BatchOf("other", again), All(again))
	var conflict *store.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, again[3].Key, conflict.Row.Key)
}

// A batch counts only if it is allowed; of what came before all is counted, once.
func testAllowance(t *testing.T, w World, s store.Store) {
	since := time.Now().Add(-time.Hour)
	var seen []string
	sum := int64(0)
	most := int64(5000)
	tooMuch := errors.New("too much")
	allow := store.Allowance{Since: since, Ask: func(_ context.Context, all iter.Seq2[store.Sighting, error]) error {
		seen, sum = nil, 0
		old := false
		for is, err := range all {
			if err != nil {
				return err
			}
			require.False(t, old && is.New, "the batch's own come first")
			old = !is.New
			require.NotZero(t, is.Account)
			seen = append(seen, is.Payout.Key.PaymentID)
			if is.Counts() {
				sum += is.Payout.Amount.Minor
			}
		}
		if sum > most {
			return tooMuch
		}
		return nil
	}}
	first := []store.Row{pays("a-1", 2000, "ann", "1"), pays("a-2", 1000, "bob", "2")}
	_, err := s.Load(t.Context(), BatchOf("a", first), All(first), allow)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a-1", "a-2"}, seen)
	second := []store.Row{pays("b-1", 2500, "ann", "1"), first[1]}
	_, err = w.Open(t).Load(t.Context(), BatchOf("b", second), All(second), allow)
	require.ErrorIs(t, err, tooMuch)
	require.Equal(t, int64(5500), sum, "what the store has is not counted twice")
	_, err = s.Get(t.Context(), second[0].Key)
	require.ErrorIs(t, err, store.ErrNoPayout, "nothing was loaded")
	_, err = s.Batch(t.Context(), BatchOf("b", second).ID)
	require.ErrorIs(t, err, store.ErrNoBatch)
	Apply(t, s, payout.Event{Key: first[0].Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
	_, err = s.Load(t.Context(), BatchOf("b", second), All(second), allow)
	require.NoError(t, err)
	slices.Sort(seen)
	require.Equal(t, []string{"a-1", "a-2", "b-1"}, seen)
	require.Equal(t, int64(3500), sum, "what was cancelled does not count")
	allow.Since = time.Now().Add(time.Hour)
	third := []store.Row{pays("c-1", 5000, "ann", "1")}
	_, err = s.Load(t.Context(), BatchOf("c", third), All(third), allow)
	require.NoError(t, err)
	require.Equal(t, []string{"c-1"}, seen, "earlier days are not counted")
}

// Exceptions are listed without a scan, and closed ones stay.
func testExceptions(t *testing.T, w World, s store.Store) {
	list := func(is payout.Exception, batch string) (ids []string) {
		for _, h := range collect(t, w.Open(t).List(t.Context(), store.Filter{Exception: is, Batch: batch, Events: true})) {
			require.Equal(t, is, h.Exception())
			require.NotEmpty(t, h.Key.PaymentID)
			ids = append(ids, h.Key.PaymentID)
		}
		return ids
	}
	b := Load(t, s, "a", Rows("a", 4))
	other := Load(t, s, "b", Rows("b", 1))
	require.Empty(t, list(payout.OpenException, ""))
	outcomes := []payout.State{payout.StatePaid, payout.StatePaid, payout.StateReturned, payout.StatePartial}
	claimed := append(Claim(t, s, b, 4), Claim(t, s, other, 1)...)
	for i, c := range claimed {
		Apply(t, s, answer(c, payout.Accepted))
		e := outcomeOf(c.Key, outcomes[i%4])
		e.Amount = c.Amount
		if i == 1 || i == 4 {
			e.Amount.Minor++ // not what was asked for
		}
		Apply(t, s, e)
	}
	require.Equal(t, []string{"a-000001", "a-000002", "a-000003", "b-000000"}, list(payout.OpenException, ""))
	require.Equal(t, []string{"b-000000"}, list(payout.OpenException, other.ID))
	var later []string
	for _, h := range collect(t, s.List(t.Context(), store.Filter{Exception: payout.OpenException, After: claimed[2].Number, Limit: 1})) {
		later = append(later, h.Key.PaymentID)
	}
	require.Equal(t, []string{"a-000003"}, later)
	h, err := s.Get(t.Context(), claimed[1].Key)
	require.NoError(t, err)
	Apply(t, s, payout.Event{Key: h.Key, Kind: payout.Resolved, Source: payout.FromPerson, At: time.Now(), Person: "anna@desk", Reason: "a fee", Version: h.Version()})
	require.Equal(t, []string{"a-000002", "a-000003", "b-000000"}, list(payout.OpenException, ""))
	require.Equal(t, []string{"a-000001"}, list(payout.ClosedException, b.ID))
	e := outcomeOf(h.Key, payout.StateDeclined)
	Apply(t, s, e)
	require.Equal(t, []string{"a-000001", "a-000002", "a-000003"}, list(payout.OpenException, b.ID), "a new fact opens it again")
	c := Claim(t, s, Load(t, s, "c", Rows("c", 1)), 1)[0]
	Apply(t, s, answer(c, payout.Accepted))
	asked := time.Now().UTC().Truncate(time.Microsecond)
	Apply(t, s, payout.Event{Key: c.Key, Kind: payout.Progress, Source: payout.FromCallback, At: asked, Reported: payout.Reported{Status: "awaiting clarification"}})
	require.Contains(t, list(payout.OpenException, ""), "c-000000", "the platform has a question")
	q, err := w.Open(t).Get(t.Context(), c.Key)
	require.NoError(t, err)
	require.True(t, q.ClarifyBy().Equal(asked.Add(payout.ClarifyWithin)))
	Apply(t, s, outcomeOf(c.Key, payout.StateDeclined))
	require.NotContains(t, list(payout.OpenException, ""), "c-000000", "it is answered, or declined")
}

// Sightings of a large batch come each once, though they are read in bursts.
func testManySightings(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 10_050)
	for i := range rows {
		rows[i].Cells[6] = fmt.Sprint(996_555_000_000 + i%4)
	}
	Load(t, s, "a", rows)
	Load(t, s, "b", Rows("b", 3))
	seen := map[payout.Key]bool{}
	accounts := map[store.Mark]int{}
	for is, err := range s.Sightings(t.Context(), time.Now().Add(-time.Hour)) {
		require.NoError(t, err)
		require.False(t, is.New)
		seen[is.Payout.Key] = true
		accounts[is.Account]++
	}
	require.Len(t, seen, len(rows)+3)
	require.Len(t, accounts, 5)
	account := s.Marker(Columns)
	require.Equal(t, 2513, accounts[account(rows[0].Cells)])
	require.Zero(t, account(make([]string, len(Columns))))
}
