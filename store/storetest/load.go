package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

func testLoadAllOrNothing(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 25_000)
	broken := errors.New("the file changed")
	_, err := s.Load(t.Context(), BatchOf("a", rows), func(yield func(store.Row, error) bool) {
		for _, r := range rows[:24_000] {
			if !yield(r, nil) {
				return
			}
		}
		yield(store.Row{}, broken)
	})
	require.ErrorIs(t, err, broken)
	require.Empty(t, collect(t, s.Batches(t.Context())))
	require.Empty(t, collect(t, s.List(t.Context(), store.Filter{})))
	_, err = s.Get(t.Context(), rows[0].Key)
	require.ErrorIs(t, err, store.ErrNoPayout)
	b := Load(t, s, "a", rows)
	require.Equal(t, 25_000, b.Rows)
	lines := collect(t, s.Lines(t.Context(), b.ID))
	for i, l := range lines {
		require.Equal(t, rows[i].Cells, l.Cells)
		require.Equal(t, rows[i].Key, l.Payout.Key)
		require.Equal(t, rows[i].Line, l.Line)
	}
}

func testLoadKnows(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 10)
	Load(t, s, "monday", rows)
	more := append(slices.Clone(rows), Rows("b", 5)...)
	l, err := s.Load(t.Context(), BatchOf("tuesday", more), All(more))
	require.NoError(t, err)
	require.Equal(t, 5, l.New)
	require.Equal(t, 10, l.Known)
	require.Len(t, collect(t, s.List(t.Context(), store.Filter{})), 15)
	for i, line := range collect(t, s.Lines(t.Context(), l.Batch.ID)) {
		require.Equal(t, more[i].Cells, line.Cells)
	}
}

func testLoadConflict(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	Load(t, s, "monday", rows)
	other := []store.Row{Row("new", 5, 2), Row(rows[1].Key.PaymentID, 99, 3)}
	_, err := s.Load(t.Context(), BatchOf("tuesday", other), All(other))
	var conflict *store.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.EqualValues(t, 99, conflict.Row.Amount.Minor)
	require.EqualValues(t, 1001, conflict.Known.Amount.Minor)
	require.Len(t, collect(t, s.Batches(t.Context())), 1)
	_, err = s.Get(t.Context(), other[0].Key)
	require.ErrorIs(t, err, store.ErrNoPayout)
	again := append(slices.Clone(rows), Row(rows[1].Key.PaymentID, 99, 9))
	_, err = s.Load(t.Context(), BatchOf("wednesday", again), All(again))
	require.ErrorAs(t, err, &conflict)
	for _, r := range collect(t, s.List(t.Context(), store.Filter{})) {
		require.Len(t, r.Places, 1, "an undone load leaves no place behind")
	}
}

func testLoadTwice(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	Load(t, s, "a", rows)
	_, err := s.Load(t.Context(), BatchOf("a", rows), All(rows))
	require.ErrorIs(t, err, store.ErrLoaded)
}

func testLoadDoubled(t *testing.T, _ World, s store.Store) {
	rows := append(Rows("a", 12_000), Row("a-000003", 1003, 12_002))
	_, err := s.Load(t.Context(), BatchOf("a", rows), All(rows))
	require.ErrorIs(t, err, store.ErrDuplicateID)
	require.Empty(t, collect(t, s.List(t.Context(), store.Filter{})))
}

func testLoadUnderWay(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 20_001)
	other := w.Open(t)
	looked := false
	_, err := s.Load(t.Context(), BatchOf("a", rows), func(yield func(store.Row, error) bool) {
		for i, r := range rows {
			if i == 20_000 { // two commits are behind
				_, err := other.Get(t.Context(), rows[0].Key)
				require.ErrorIs(t, err, store.ErrNoPayout)
				require.Empty(t, collect(t, other.List(t.Context(), store.Filter{})))
				require.Empty(t, collect(t, other.Batches(t.Context())))
				c := Apply(t, other, proven(rows[5], payout.StatePaid))
				require.True(t, c.Kept, "a callback waits until the load is whole")
				looked = true
			}
			if !yield(r, nil) {
				return
			}
		}
	})
	require.NoError(t, err)
	require.True(t, looked)
	r, err := s.Get(t.Context(), rows[5].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StatePaid, r.State)
}

func testSkipped(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	rows[1] = store.Row{Line: 3, Cells: []string{"payout", "", "", "", "", "", "", "", ""}, Skip: "it is empty"}
	b := Load(t, s, "a", rows)
	lines := collect(t, s.Lines(t.Context(), b.ID))
	require.Equal(t, "it is empty", lines[1].Skip)
	require.Equal(t, rows[1].Cells, lines[1].Cells)
	require.Len(t, Claim(t, s, b, 10), 2)
}

func testTwoBatches(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 4)
	monday := Load(t, s, "monday", rows)
	tuesday := Load(t, s, "tuesday", append(slices.Clone(rows), Row("extra", 7, 6)))
	c := Claim(t, s, monday, 2)
	require.Len(t, Claim(t, s, tuesday, 10), 3, "the rest and the new one")
	require.Empty(t, Claim(t, s, monday, 10))
	Apply(t, s, answer(c[0], payout.Released))
	freed := Claim(t, s, tuesday, 10)
	require.Len(t, freed, 1, "freed for every batch that it is in")
	require.Equal(t, tuesday.Number, freed[0].SentBy)
	require.Equal(t, c[0].Key, freed[0].Key)
	require.Empty(t, Claim(t, s, monday, 10))
	Apply(t, s, outcomeOf(c[1].Key, payout.StatePaid))
	for _, id := range []string{monday.ID, tuesday.ID} {
		b, err := s.Batch(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, 1, b.InState(payout.StatePaid))
	}
}
