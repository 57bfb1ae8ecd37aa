package storetest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/store"
)

// Approvals are only ever added to a batch, each once, and are in the log.
func testApprovals(t *testing.T, w World, s store.Store) {
	of := func(n int) store.Approval {
		return store.Approval{Name: fmt.Sprintf("a.csv.%d.approval", n), Statement: []byte(fmt.Sprint("masspay release ", n)), Signature: []byte{byte(n)}}
	}
	rows := Rows("a", 2)
	b := BatchOf("a", rows)
	b.Approvals = []store.Approval{of(1)}
	_, err := s.Load(t.Context(), b, All(rows))
	require.NoError(t, err)
	other := Load(t, s, "b", Rows("b", 1))
	require.NoError(t, s.Approve(t.Context(), b.ID, of(2), of(1), of(2)))
	require.NoError(t, w.Open(t).Approve(t.Context(), b.ID, of(2), of(3)))
	entries := len(chain(t, s))
	require.NoError(t, s.Approve(t.Context(), b.ID, of(3)))
	require.NoError(t, s.Approve(t.Context(), b.ID))
	log := chain(t, s)
	require.Len(t, log, entries, "nothing was added")
	require.Equal(t, store.ActApproved, log[entries-1].Act)
	require.Equal(t, b.ID, log[entries-1].Batch)
	require.Contains(t, log[entries-1].Facts["approval 1"], "a.csv.3.approval ")
	is, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, []store.Approval{of(1), of(2), of(3)}, is.Approvals)
	is, err = s.Batch(t.Context(), other.ID)
	require.NoError(t, err)
	require.Empty(t, is.Approvals)
	for all, err := range s.Batches(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, all.ID == b.ID, len(all.Approvals) == 3)
	}
	var many []store.Approval
	for n := range 98 {
		many = append(many, of(10+n))
	}
	require.Error(t, s.Approve(t.Context(), b.ID, many...))
	require.NoError(t, s.Approve(t.Context(), b.ID, many[:97]...))
	require.ErrorIs(t, s.Approve(t.Context(), fmt.Sprintf("%064d", 0), of(1)), store.ErrNoBatch)
	Check(t, s)
}
