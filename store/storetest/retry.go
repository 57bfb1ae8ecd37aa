package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

func testRetries(t *testing.T, _ World, s store.Store) {
	first := Row("x", 1000, 2)
	a := Load(t, s, "a", []store.Row{first})
	bar := func(row store.Row) uint64 {
		blocker, err := s.RetryBlocker(t.Context(), row.Key, row.Amount, payout.Payee(Columns, row.Cells))
		require.NoError(t, err)
		if !blocker.Same {
			return 0
		}
		return blocker.By.Number
	}
	again := Row("x-r2", 1000, 2)
	require.NotZero(t, bar(again), "it is still to be sent")
	_, err := s.Load(t.Context(), BatchOf("r2", []store.Row{again}), All([]store.Row{again}))
	var retry *store.RetryError
	require.ErrorAs(t, err, &retry)
	require.Equal(t, first.Key, retry.By.Key)
	require.Zero(t, bar(Row("x-r2", 999, 2)), "another amount")
	other := Row("x-r2", 1000, 2)
	other.Cells[6] = "996555000000"
	require.Zero(t, bar(other), "another payee")
	require.Zero(t, bar(Row("y-r2", 1000, 2)), "nothing is known of y")

	// Declined: it may be paid again. While that waits, the gate says that it was paid.
	c := Claim(t, s, a, 1)
	Apply(t, s, answer(c[0], payout.Accepted))
	report := func(key payout.Key, outcome payout.State, status string) {
		Apply(t, s, payout.Event{
			Key: key, Kind: payout.Final, Source: payout.FromCallback, At: time.Now(), Outcome: outcome, Reported: payout.Reported{Status: status}, Customer: "c-x", Account: account,
		})
	}
	report(first.Key, payout.StateDeclined, "decline")
	require.Zero(t, bar(again))
	b := Load(t, s, "r2", []store.Row{again})
	report(first.Key, payout.StatePaid, "success")
	var blocked []payout.Key
	claim := func() []store.Claimed {
		got, err := s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 10, Host: host})
		require.NoError(t, err)
		for _, retry := range got.Blocked {
			require.Equal(t, first.Key, retry.By.Key)
			blocked = append(blocked, retry.Key)
		}
		return got.Payouts
	}
	require.Empty(t, claim())
	require.Equal(t, []payout.Key{again.Key}, blocked)
	rec, err := s.Get(t.Context(), again.Key)
	require.NoError(t, err)
	require.Equal(t, payout.StateNew, rec.State)
	require.Zero(t, rec.Tries)

	// A person who has found it unpaid frees it; one who has only seen it would not.
	Apply(t, s, payout.Event{Key: first.Key, Kind: payout.Resolved, Source: payout.FromPerson, At: time.Now(), Outcome: payout.StateDeclined, Person: "p", Reason: "r"})
	require.Len(t, claim(), 1)
	// The next retry waits for the one before it.
	third := Row("x-r3", 1000, 2)
	require.NotZero(t, bar(third))
	_, err = s.Load(t.Context(), BatchOf("r3", []store.Row{third}), All([]store.Row{third}))
	require.ErrorAs(t, err, &retry)
	require.Equal(t, again.Key, retry.By.Key)

	// It looks at every payout of the row, whichever was there first: a later retry bars
	// an earlier one, and the first id, which comes back after it was cancelled.
	z, z3 := Row("z", 7, 2), Row("z-r3", 7, 2)
	Load(t, s, "z3", []store.Row{z3})
	for _, id := range []string{"z", "z-r2", "z-r2-r2", "z-r4"} {
		require.NotZero(t, bar(Row(id, 7, 2)), id)
	}
	_, err = s.Load(t.Context(), BatchOf("z", []store.Row{z}), All([]store.Row{z}))
	require.ErrorAs(t, err, &retry)
	require.Equal(t, z3.Key, retry.By.Key)
	// Of two that wait, in one file, one goes, whichever order they come in.
	for _, ids := range [][]string{{"v", "v-r2"}, {"w-r2", "w"}} {
		both := Load(t, s, ids[0], []store.Row{Row(ids[0], 8, 2), Row(ids[1], 8, 3)})
		got, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: both.ID, N: 10, Host: host}))
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, ids[0], got[0].Key.PaymentID)
		again, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: both.ID, N: 10, Host: host}))
		require.NoError(t, err)
		require.Empty(t, again)
	}
	families, err := s.Families(t.Context())
	require.NoError(t, err)
	for _, key := range []payout.Key{first.Key, z.Key, Row("v", 8, 2).Key, Row("w", 8, 2).Key} {
		require.True(t, families(key), key)
	}
	require.False(t, families(again.Key))
	family, err := s.Family(t.Context(), again.Key)
	require.NoError(t, err)
	require.Equal(t, []payout.Key{first.Key, again.Key}, []payout.Key{family[0].Key, family[1].Key})
}
