package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// A page shows what is wanted of the rows, looks at no more than it may, and says where to go on.
func testPage(t *testing.T, _ World, s store.Store) {
	in := Rows("a", 120)
	in[7] = store.Row{Line: in[7].Line, Cells: in[7].Cells, Skip: "left out"}
	b := Load(t, s, "a", in)
	Load(t, s, "b", Rows("b", 3))
	look := func(q store.PageQuery) (lines []int, page store.Page) {
		q.Batch = b.ID
		page, err := s.Page(t.Context(), q)
		require.NoError(t, err)
		for _, l := range page.Rows {
			require.Empty(t, l.Cells)
			require.Equal(t, in[l.Index].Line, l.Line)
			require.Equal(t, in[l.Index].Skip, l.Skip)
			if l.Skip == "" {
				require.Equal(t, in[l.Index].Key, l.Payout.Key)
				require.Equal(t, in[l.Index].Masked, l.Payout.Masked)
			}
			lines = append(lines, l.Index)
		}
		return lines, page
	}
	lines, page := look(store.PageQuery{})
	require.Len(t, lines, 120)
	require.Equal(t, []int{-1, 120}, []int{page.Next, page.Looked})
	lines, page = look(store.PageQuery{From: -5, Limit: 3})
	require.Equal(t, []int{0, 1, 2}, lines)
	require.Equal(t, []int{3, 3}, []int{page.Next, page.Looked})
	lines, page = look(store.PageQuery{From: 117, Limit: 3})
	require.Equal(t, []int{117, 118, 119}, lines)
	require.Equal(t, -1, page.Next, "there are no more")
	third := func(l *store.Line) bool { return l.Index%3 == 0 }
	lines, page = look(store.PageQuery{From: 1, Limit: 2, Wants: third})
	require.Equal(t, []int{3, 6}, lines)
	require.Equal(t, []int{7, 6}, []int{page.Next, page.Looked})
	lines, page = look(store.PageQuery{From: 4, Scan: 4, Wants: third})
	require.Equal(t, []int{6}, lines)
	require.Equal(t, []int{8, 4}, []int{page.Next, page.Looked}, "it looks at so many only")
	for _, from := range []int{120, 1_000_000} {
		lines, page = look(store.PageQuery{From: from})
		require.Empty(t, lines)
		require.Equal(t, -1, page.Next)
	}
	_, err := s.Page(t.Context(), store.PageQuery{Batch: "ffff"})
	require.ErrorIs(t, err, store.ErrNoBatch)
	// Several things are read together, also one within the other.
	require.NoError(t, s.Together(t.Context(), func(ctx context.Context) error {
		page, err := s.Page(ctx, store.PageQuery{Batch: b.ID, Limit: 1})
		require.NoError(t, err)
		return s.Together(ctx, func(ctx context.Context) error {
			h, err := s.Get(ctx, page.Rows[0].Payout.Key)
			require.NoError(t, err)
			require.Equal(t, page.Rows[0].Payout.Number, h.Number)
			return nil
		})
	}))
	require.ErrorIs(t, s.Together(t.Context(), func(context.Context) error { return store.ErrNoPayout }), store.ErrNoPayout)
}

func testLatest(t *testing.T, _ World, s store.Store) {
	all, err := s.Latest(t.Context(), 0, 5)
	require.NoError(t, err)
	require.Empty(t, all)
	var names []string
	for i := range 5 {
		Load(t, s, fmt.Sprint("b", i), Rows(fmt.Sprint("b", i), 2))
	}
	before := uint32(0)
	for {
		all, err := s.Latest(t.Context(), before, 2)
		require.NoError(t, err)
		if len(all) == 0 {
			break
		}
		for _, b := range all {
			one, err := s.Batch(t.Context(), b.ID)
			require.NoError(t, err)
			require.Equal(t, one, b)
			names = append(names, b.Name)
			before = b.Number
		}
	}
	require.Equal(t, []string{"b4", "b3", "b2", "b1", "b0"}, names)
	all, err = s.Latest(t.Context(), 1_000, 9)
	require.NoError(t, err)
	require.Len(t, all, 5)
}

// Codes are counted for what is settled and was not paid; of very many the rest is one.
func testCodes(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 6))
	c := Claim(t, s, b, 6)
	final := func(i int, state payout.State, code string) {
		Apply(t, s, answer(c[i], payout.Accepted))
		Apply(t, s, payout.Event{Key: c[i].Key, Kind: payout.Final, Source: payout.FromCallback, At: time.Now(), Outcome: state, Reported: payout.Reported{Code: code, Status: state.String()}})
	}
	final(0, payout.StateDeclined, "20101")
	final(1, payout.StateDeclined, "20101")
	final(2, payout.StateDeclined, "20000")
	final(3, payout.StatePaid, "0")
	final(4, payout.StateDeclined, "")
	codes := func() map[string]int {
		got, err := s.Batch(t.Context(), b.ID)
		require.NoError(t, err)
		n := map[string]int{}
		for _, c := range got.Counts {
			if c.State == payout.StateDeclined || c.Code != "" {
				n[fmt.Sprint(c.State, " ", c.Code)] += c.N
			}
		}
		return n
	}
	require.Equal(t, map[string]int{"declined 20101": 2, "declined 20000": 1, "declined ": 1}, codes())
	// The gate says otherwise: a person must look, and it is no longer counted as not paid.
	final(2, payout.StatePaid, "0")
	require.Equal(t, map[string]int{"declined 20101": 2, "declined ": 2}, codes())
}
