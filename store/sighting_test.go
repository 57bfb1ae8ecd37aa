package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// A customer whose newest payments came back is known by them, and by what was paid before.
func TestACustomerWhoseAccountWasClosed(t *testing.T) {
	t.Parallel()
	all := map[uint64]*payout.Payout{}
	get := func(n uint64) (*payout.Payout, error) { return all[n], nil }
	a, b := store.Mark{1}, store.Mark{2}
	var had []store.Remembered
	for n := uint64(1); n <= 8; n++ {
		all[n] = &payout.Payout{Number: n, State: payout.StatePaid}
		var err error
		had, err = store.Remember(had, a, n, get)
		require.NoError(t, err)
	}
	all[7].State, all[8].State = payout.StateReturned, payout.StateReturned
	last, err := store.LastPaid(had, b, get)
	require.NoError(t, err)
	require.Equal(t, uint64(8), last.Number)
	last, err = store.LastPaid(had, a, get)
	require.NoError(t, err)
	require.Zero(t, last.Number)
}
