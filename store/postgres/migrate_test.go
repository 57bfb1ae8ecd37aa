package postgres

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/seal"
	"masspay/store/storetest"
)

// Tables of format 1 are brought to this one's with everything that it has more, for the
// roles that use them, too; the same again changes nothing.
func TestMigrate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.Open(t)
	rows := storetest.Rows("a", 4)
	rows[1].Cells[6] = "996555000000"
	b := storetest.Load(t, s, "a", rows)
	for i, c := range storetest.Claim(t, s, b, 3) {
		storetest.Apply(t, s, payout.Event{Key: c.Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: c.Attempt, Tries: 1, At: time.Now(), Host: "gate.example"})
		e := payout.Event{Key: c.Key, Kind: payout.Final, Source: payout.FromCallback, At: time.Now(), Outcome: payout.StatePaid, Reported: payout.Reported{Amount: c.Amount}}
		if i == 2 {
			e.Outcome, e.Code = payout.StateDeclined, "20101"
		}
		e.Amount.Minor += int64(i % 2)
		storetest.Apply(t, s, e)
	}
	twin, changed := storetest.Row("x", 1000, 2), storetest.Row("y", 5, 2)
	changed.Cells[8] = "c-a-000001"
	look := func(s store.Store) (open []string, twins, last string) {
		for h, err := range s.List(t.Context(), store.Filter{Exception: payout.OpenException}) {
			require.NoError(t, err)
			open = append(open, h.Key.PaymentID)
		}
		out, err := s.Resembling(t.Context(), storetest.Columns, time.Now().Add(-time.Hour), []store.Row{twin, changed})
		require.NoError(t, err)
		require.Len(t, out, 2)
		return open, out[0].Twin.Key.PaymentID, out[1].Last.Key.PaymentID
	}
	open, twins, last := look(s)
	require.Equal(t, []any{[]string{"a-000001"}, "a-000000", "a-000001"}, []any{open, twins, last})

	role := w.o.Schema + "_later"
	w.makeRole(t, role)
	for _, statement := range []string{
		`create temp table kept as select batch, state, currency, slot, sum(n) n, sum(minor) minor, sum(checks) checks, sum(aside) aside, sum(stuck) stuck from %s.counts group by 1, 2, 3, 4;
		 truncate %[1]s.counts; alter table %[1]s.counts drop column code;
		 insert into %[1]s.counts (batch, state, currency, slot, n, minor, checks, aside, stuck) select * from kept; alter table %[1]s.counts add primary key (batch, state, currency, slot)`,
		`alter table %s.meta drop column keep_for`,
		`drop table %s.minutes, %[1]s.totals, %[1]s.audit, %[1]s.sightings, %[1]s.customers, %[1]s.series, %[1]s.approvals`, `alter table %s.payouts drop column exception`,
		`alter table %s.batches drop column loaded_at`, `update %s.meta set format = 1, readable_by = 1`,
		`revoke all on all tables in schema %s from ` + pgx.Identifier{role}.Sanitize(), `grant insert on %s.lines to ` + pgx.Identifier{role}.Sanitize(),
	} {
		w.sql(t, fmt.Sprintf(statement, w.o.Schema))
	}
	_, err := Open(t.Context(), w.options())
	require.ErrorIs(t, err, store.ErrOlder)
	wrong := w.options()
	wrong.Key = seal.NewKey()
	_, err = Migrate(t.Context(), wrong)
	require.ErrorIs(t, err, store.ErrKey)
	for range 2 {
		from, err := Migrate(t.Context(), w.options())
		require.NoError(t, err)
		require.LessOrEqual(t, from, uint64(2))
	}
	s = w.Open(t)
	open, twins, last = look(s)
	require.Equal(t, []any{[]string{"a-000001"}, "a-000000", "a-000001"}, []any{open, twins, last})
	storetest.Check(t, s)
	head, err := s.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), head.Seq)
	var may bool
	require.NoError(t, w.admin.QueryRow(t.Context(), `select has_table_privilege($1, $2, 'INSERT') and not has_table_privilege($1, $2, 'UPDATE')`, role, w.o.Schema+".audit").Scan(&may))
	require.True(t, may)
	storetest.Load(t, s, "b", storetest.Rows("b", 2))
}

// Accounts are forgotten by the first load after the days for which they are kept; customers
// are not.
func TestSightingsAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := as(t, w, func(o *Options) { o.KeepFor = time.Hour })
	storetest.Load(t, s, "a", storetest.Rows("a", 30))
	w.sql(t, fmt.Sprintf(`update %s.batches set loaded_at = loaded_at - interval '1 hour'`, w.o.Schema))
	storetest.Load(t, s, "b", storetest.Rows("b", 20))
	var n, customers int
	require.NoError(t, w.admin.QueryRow(t.Context(), fmt.Sprintf(`select (select count(*) from %s.sightings), (select count(*) from %[1]s.customers)`, w.o.Schema)).Scan(&n, &customers))
	require.Equal(t, []int{20, 50}, []int{n, customers})
}

// doctor misses what is missing from an index, and from the log.
func TestWhatIsMissingIsFound(t *testing.T) {
	t.Parallel()
	for table, says := range map[string]string{"sightings": "the index of accounts has 0 payouts of batch", "audit": "the audit log is empty, and runs are known"} {
		w := newWorld(t)
		s := w.Open(t)
		_, err := s.BeginRun(t.Context(), store.Run{Command: "run"})
		require.NoError(t, err)
		storetest.Load(t, s, "a", storetest.Rows("a", 3))
		storetest.Check(t, s)
		w.sql(t, fmt.Sprintf(`delete from %s.%s`, w.o.Schema, table))
		e, err := s.Examine(t.Context())
		require.NoError(t, err)
		require.Contains(t, strings.Join(e.Wrong, "; "), says)
	}
}
