package postgres

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/storetest"
)

// A report of an id that is not known waits for a load that may be bringing it; one of a
// known id does not.
func TestAReportWaitsForALoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.Open(t).(*Store)
	rows := storetest.Rows("a", 2)
	b := storetest.Load(t, s, "a", rows)
	storetest.Apply(t, s, payout.Event{Key: rows[1].Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
	conn, err := pgx.Connect(t.Context(), w.o.URL)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), `begin`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), lockAlone, s.lockNumber(lockEarly)) // as a load holds it
	require.NoError(t, err)
	hasty := w.OpenFor(t, 300*time.Millisecond)
	report := func(id string) payout.Event {
		return payout.Event{Key: payout.Key{ProjectID: 1234, PaymentID: id}, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, At: time.Now()}
	}
	_, err = hasty.Apply(t.Context(), report("unknown"))
	require.ErrorIs(t, err, store.ErrBusy)
	_, err = hasty.Apply(t.Context(), report(rows[1].Key.PaymentID))
	require.ErrorIs(t, err, store.ErrBusy, "the id of a cancelled payout may be coming back")
	_, err = hasty.Apply(t.Context(), report(rows[0].Key.PaymentID))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `rollback`)
	require.NoError(t, err)
	require.True(t, storetest.Apply(t, s, report("unknown")).Kept)
	is, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, 2, is.Rows)
}
