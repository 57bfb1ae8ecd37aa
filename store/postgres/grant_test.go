package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/storetest"
)

// A role that only has what Grant gives can do everything but delete what was paid.
func TestGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := "r" + w.o.Schema
	w.makeRole(t, role)
	require.NoError(t, w.Open(t).(*Store).Grant(t.Context(), role))
	o := w.options()
	o.URL = strings.Replace(o.URL, "masspay@", role+"@", 1)
	require.Contains(t, o.URL, role)
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	b := storetest.Load(t, s, "a", storetest.Rows("a", 4))
	c := storetest.Claim(t, s, b, 2)
	storetest.Apply(t, s, payout.Event{Key: c[0].Key, Kind: payout.Unsent, Source: payout.FromRun, Attempt: 1, At: b.LoadedAt})
	require.Len(t, storetest.Claim(t, s, b, 1), 1)
	require.NoError(t, s.Hold(t.Context(), b.ID, store.Hold{Kind: store.HeldByPerson}))
	require.NoError(t, s.Prove(t.Context(), "g"))
	_, err = s.Recover(t.Context())
	require.NoError(t, err)
	storetest.Check(t, s)
	require.Error(t, s.Settle(t.Context(), store.Settings{Rate: 1}), "settings are the owner's")
	conn, err := pgx.Connect(t.Context(), o.URL)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	for _, table := range []string{"payouts", "ids", "lines", "batches", "runs", "meta"} {
		_, err := conn.Exec(t.Context(), `delete from `+w.o.Schema+`.`+table)
		require.ErrorContains(t, err, "permission denied", table)
	}
}

// makeRole makes a role that may log in, until the test ends.
func (w *world) makeRole(t *testing.T, role string) {
	w.sql(t, `create role `+role+` login`)
	t.Cleanup(func() { w.sql(t, `drop owned by `+role); w.sql(t, `drop role `+role) })
}
