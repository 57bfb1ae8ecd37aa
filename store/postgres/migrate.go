package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// migrations bring tables to a format from the one before: the statements, and what fills
// them.
var migrations = map[int]struct {
	tables string
	fill   func(ctx context.Context, s *Store, t *tx) error
}{
	2: {format2, fill2},
}

// Migrate brings tables of an older masspay to the format of this one, in one transaction;
// others wait meanwhile, and older ones find the tables newer from then on. It is for the
// owner of the tables; roles that could use them can afterwards. It never changes what was
// paid, or what is in doubt.
func Migrate(ctx context.Context, o Options) (from uint64, err error) {
	s, err := connect(o)
	if err != nil {
		return 0, err
	}
	defer s.pool.Close()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return 0, s.plain(ctx, err)
	}
	defer conn.Release()
	err = pgx.BeginFunc(ctx, conn, func(p pgx.Tx) error {
		var m meta
		t := &tx{s: s, c: p.Conn()}
		b := &pgx.Batch{}
		b.Queue(lockAlone, s.lockNumber(lockSchema))
		b.Queue(s.sql(`lock table @meta in access exclusive mode`)) // nobody begins anything
		s.readMeta(b, &m)
		if err := t.send(ctx, b); err != nil {
			return err
		}
		if m.check != s.sealer.Check() {
			return fmt.Errorf("schema %s: %w", s.o.Schema, store.ErrKey)
		}
		if from = uint64(m.format); m.format >= format {
			return nil
		}
		for f := m.format + 1; f <= format; f++ {
			if _, err := t.c.Exec(ctx, s.sql(migrations[f].tables), pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
			if err := migrations[f].fill(ctx, s, t); err != nil {
				return err
			}
		}
		b = &pgx.Batch{}
		b.Queue(s.sql(`update @meta set format = $1, readable_by = $2`), format, readableBy)
		if _, err := t.note(ctx, b, store.Entry{At: s.o.now(), Act: store.ActMigrated, Facts: map[string]string{"format": fmt.Sprint(format)}}); err != nil {
			return err
		}
		return t.send(ctx, b)
	})
	if err != nil {
		return from, s.plain(ctx, err)
	}
	return from, s.grantAgain(ctx)
}

// grantAgain gives the roles that may use the tables what newer ones need.
func (s *Store) grantAgain(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, `select distinct grantee from information_schema.role_table_grants
		where table_schema = $1 and table_name = 'lines' and privilege_type = 'INSERT' and grantee <> (select tableowner from pg_tables where schemaname = $1 and tablename = 'lines')`, s.o.Schema)
	if err != nil {
		return s.plain(ctx, err)
	}
	roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, role := range roles {
		if err == nil {
			err = s.Grant(ctx, role)
		}
	}
	return s.plain(ctx, err)
}

// fill2 fills what format 2 has more: when batches were loaded, exceptions, and accounts.
func fill2(ctx context.Context, s *Store, t *tx) error {
	all, err := s.readBatches(ctx, t.c, "")
	if err != nil {
		return err
	}
	headers := map[uint32]store.Batch{}
	b := &pgx.Batch{}
	for _, batch := range all {
		headers[batch.Number] = batch
		b.Queue(s.sql(`update @batches set loaded_at = $2 where number = $1`), int64(batch.Number), batch.LoadedAt)
	}
	s.tellCodes(b)
	if err := t.send(ctx, b); err != nil {
		return err
	}
	w := t.writer(ctx)
	from := int64(-1)
	for {
		rows, err := t.c.Query(ctx, s.sql(`select l.batch, l.idx, l.sealed, `+payoutColumns+` from @payouts p left join lateral
			(select * from @lines l where l.payout = p.number order by l.batch, l.idx limit 1) l on true where p.number > $1 order by p.number limit $2`), from, burst)
		if err != nil {
			return err
		}
		some, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (filled, error) { return s.fillOf(row, headers) })
		if err != nil {
			return err
		}
		if err := s.fillSome(ctx, t, some); err != nil {
			return err
		}
		for i := range some {
			w.counting.CountKept(&some[i].history)
		}
		if len(some) < burst {
			b := &pgx.Batch{}
			w.flushFlows(b)
			return t.send(ctx, b)
		}
		from = some[len(some)-1].number
	}
}

// tellCodes counts by code what is settled and was not paid, and was counted by state alone.
func (s *Store) tellCodes(b *pgx.Batch) {
	names, numbers := []string{}, []int16{}
	for _, state := range payout.States {
		told := payout.Payout{State: state, Reported: payout.Reported{Code: "0"}}
		if told.Reason() != "" {
			names, numbers = append(names, state.String()), append(numbers, int16(state))
		}
	}
	b.Queue(s.sql(`with told as (select l.batch, u.number state, p.currency, p.code, count(*) n, sum(p.minor)::bigint minor from @lines l join @payouts p on p.number = l.payout
			join unnest($1::text[], $2::smallint[]) u (name, number) on u.name = p.state where not p.needs_check and p.code <> '' group by 1, 2, 3, 4),
		untold as (insert into @counts as c (batch, state, currency, slot, n, minor, checks, aside, stuck) select batch, state, currency, -1, -sum(n), -sum(minor), 0, 0, 0 from told group by 1, 2, 3)
		insert into @counts (batch, state, currency, code, slot, n, minor, checks, aside, stuck) select batch, state, currency, code, -1, n, minor, 0, 0, 0 from told`), names, numbers)
}

// filled is what a payout of an older masspay has more.
type filled struct {
	number, batch     int64
	account, customer store.Mark
	exception         payout.Exception
	history           payout.History
}

func (s *Store) fillOf(row pgx.CollectableRow, headers map[uint32]store.Batch) (f filled, err error) {
	var r rowWithLine
	if err := row.Scan(append([]any{&r.batch, &r.index, &r.sealed}, r.into()...)...); err != nil {
		return f, err
	}
	rec, err := r.decode()
	f = filled{number: r.number, exception: rec.Exception()}
	if err == nil {
		f.history, err = rec.Full(true)
	}
	if err != nil || len(rec.Places) == 0 {
		return f, err
	}
	at := rec.Places[0] // known by the row that it is sent from
	if r.batch == nil || r.index == nil || uint32(*r.batch) != at.Batch || uint32(*r.index) != at.Index {
		return f, fmt.Errorf("%w: payout %s is not in the row that it is of", store.ErrDamaged, rec.Key)
	}
	cells, err := s.sealer.Open(r.sealed, rec.Key, at.Batch, at.Index)
	if err != nil {
		return f, err
	}
	marker := s.sealer.Marker(headers[at.Batch].Columns)
	f.batch, f.account, f.customer = int64(at.Batch), marker.Account(cells), marker.Customer(rec.Key.ProjectID, cells)
	return f, nil
}

type rowWithLine struct {
	batch, index *int64
	sealed       []byte
	row
}

func (s *Store) fillSome(ctx context.Context, t *tx, some []filled) error {
	var odd, batches, numbers []int64
	var exceptions []int16
	var accounts [][]byte
	b := &pgx.Batch{}
	for _, f := range some {
		if f.exception != payout.NoException {
			odd, exceptions = append(odd, f.number), append(exceptions, int16(f.exception))
		}
		if f.batch != 0 {
			batches, accounts, numbers = append(batches, f.batch), append(accounts, f.account[:]), append(numbers, f.number)
		}
	}
	b.Queue(s.sql(`update @payouts p set exception = u.exception from unnest($1::bigint[], $2::smallint[]) as u (number, exception) where p.number = u.number`), odd, exceptions)
	b.Queue(s.sql(`insert into @sightings (batch, account, payout) select * from unnest($1::bigint[], $2::bytea[], $3::bigint[])`), batches, accounts, numbers)
	if err := t.send(ctx, b); err != nil {
		return err
	}
	for _, f := range some { // in load order, one after the other: a customer may be there twice
		if f.customer == (store.Mark{}) || f.account == (store.Mark{}) {
			continue
		}
		var had []byte
		err := t.c.QueryRow(ctx, s.sql(`select (select accounts from @customers where id = $1)`), f.customer[:]).Scan(&had)
		if err != nil {
			return err
		}
		kept, err := codec.DecodeRemembered(f.customer[:], had)
		if err != nil {
			return err
		}
		m := &memory{s: s, t: t, fresh: math.MaxUint64}
		one := []remembering{{f.customer[:], f.account[:], f.number, kept, had != nil}}
		payouts, err := m.crowded(ctx, one)
		if err == nil {
			err = m.add(one, payouts)
		}
		if err == nil {
			err = m.end(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
