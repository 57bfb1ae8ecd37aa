package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// Examine checks everything that the store keeps against itself, in one snapshot, and
// changes nothing; see store.Store. Nobody waits for it, but what changes meanwhile is kept
// for it: it is for quiet hours.
func (s *Store) Examine(ctx context.Context) (e store.Examination, err error) {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return e, s.plain(ctx, err)
	}
	defer c.Release()
	err = pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(t pgx.Tx) error {
		x := &examining{s: s, t: t, Examination: &e, batch: map[uint32]*counting{}, fresh: map[uint32]int{}, gates: map[string]int64{}}
		return x.all(ctx)
	})
	if errors.Is(err, store.ErrDamaged) {
		e.Add("%v", err)
		err = nil
	}
	return e, s.plain(ctx, err)
}

// examining is one examination under way.
type examining struct {
	*store.Examination
	s     *Store
	t     pgx.Tx
	meta  meta
	batch map[uint32]*counting
	fresh map[uint32]int // payouts that came with a batch
	gates map[string]int64

	states [payout.StateCancelled + 1]int64 // payouts
}

// counting is a batch: what is kept of it, and what counting gives.
type counting struct {
	store.Batch
	cursor  int64
	read    int64
	counted map[countKey]tally
}

func (x *examining) all(ctx context.Context) error {
	for _, part := range []func(context.Context) error{x.itself, x.batches, x.lines, x.payouts, x.indexes, x.flows, x.sightings, x.rest, x.audit} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (x *examining) note(format string, args ...any) {
	x.Notes = append(x.Notes, fmt.Sprintf(format, args...))
}

func (x *examining) itself(ctx context.Context) error {
	var is identity
	seen, err := x.s.witness()
	b := &pgx.Batch{}
	x.s.readMeta(b, &x.meta)
	x.s.readIdentity(b, &is)
	var old int64
	b.Queue(`select count(*) from pg_stat_activity where datname = current_database() and xact_start < now() - interval '10 minutes'`).QueryRow(func(row pgx.Row) error { return row.Scan(&old) })
	if err := x.t.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	older, _ := x.s.older(&x.meta, is, seen)
	switch {
	case err != nil:
		x.note("the marker %s cannot be read: %v", x.s.o.Marker, err)
	case older:
		x.note("the database is not the one of the last claim, or knows less than this machine has seen: it is a restored copy")
	case x.meta.epoch != 0:
		x.note("the database is a restored copy; the gate is asked before anything is sent")
	}
	if old > 0 {
		x.note("%d transactions of this database are older than 10 minutes: they make everything slower", old)
	}
	return nil
}

// each goes through the rows of a statement.
func (x *examining) each(ctx context.Context, statement string, into []any, do func() error, args ...any) error {
	rows, err := x.t.Query(ctx, x.s.sql(statement), args...)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, into, do)
	return err
}

func (x *examining) batches(ctx context.Context) error {
	all, err := x.s.readBatches(ctx, x.t, "")
	if err != nil {
		return err
	}
	for _, b := range all {
		x.Batches++
		x.batch[b.Number] = &counting{Batch: b, counted: map[countKey]tally{}}
	}
	var number, cursor, rows int64
	return x.each(ctx, `select number, cursor, rows from @batches`, []any{&number, &cursor, &rows}, func() error {
		b := x.batch[uint32(number)]
		if b == nil || b.Number != uint32(number) || int64(b.Rows) != rows {
			x.Add("batch number %d is not what its header says", number)
			return nil
		}
		b.cursor = cursor
		return nil
	})
}

// lines opens every row, and counts.
func (x *examining) lines(ctx context.Context) error {
	var batch, index, number int64
	var sealed []byte
	var r row
	err := x.each(ctx, `select l.batch, l.idx, l.payout, l.sealed, coalesce(p.number, 0), coalesce(p.state, ''), coalesce(p.owner, 0), p.poll_at, p.record
		from @lines l left join @payouts p on p.number = l.payout order by l.batch, l.idx`, append([]any{&batch, &index, &number, &sealed}, r.into()...), func() error {
		b := x.batch[uint32(batch)]
		if b == nil {
			x.Add("row %d is of batch number %d, which is not there", index+1, batch)
			return nil
		}
		x.Rows++
		if index != b.read {
			x.Add("row %d of batch number %d is missing", b.read+1, batch)
		}
		b.read = index + 1
		var rec codec.Record
		if number != 0 {
			var err error
			if r.number != number {
				x.Add("payout number %d, of row %d of batch number %d, is missing", number, index+1, batch)
				return nil
			}
			if rec, err = r.decode(); err != nil {
				x.Add("%v", err)
				return nil
			}
			if !slices.Contains(rec.Places, payout.Place{Batch: uint32(batch), Index: uint32(index)}) {
				x.Add("payout %s does not know of row %d of batch number %d", rec.Key, index+1, batch)
			}
			w := writer{counts: b.counted}
			w.count(uint32(batch), &rec.Payout, +1)
		}
		if _, err := x.s.sealer.Open(sealed, rec.Key, uint32(batch), uint32(index)); err != nil {
			x.Add("%v", err)
		}
		return nil
	})
	for number, b := range x.batch {
		if b.read != int64(b.Rows) {
			x.Add("batch number %d has %d rows, and should have %d", number, b.read, b.Rows)
		}
		kept := map[countKey]tally{}
		for _, c := range b.Counts {
			kept[countKey{number, c.State, c.Amount.Currency, c.Code}] = tally{int64(c.N), c.Amount.Minor, int64(c.Check), c.Minor, int64(c.Stuck)}
		}
		maps.DeleteFunc(b.counted, func(_ countKey, c tally) bool { return c == (tally{}) })
		if !maps.Equal(kept, b.counted) {
			x.Add("the counts by state of batch number %d are not what counting gives", number)
		}
	}
	return err
}

func (x *examining) payouts(ctx context.Context) error {
	var r row
	var project, minor int64
	var id, method, currency, destination, status, code string
	var check bool
	var exception int16
	var attempts int
	var final *time.Time
	into := append(r.into(), &project, &id, &method, &minor, &currency, &destination, &check, &exception, &attempts, &status, &code, &final)
	err := x.each(ctx, `select `+payoutColumns+`, p.project, p.payment_id, p.method, p.minor, p.currency, p.destination, p.needs_check, p.exception, p.attempts, p.status, p.code, p.final_at from @payouts p order by p.number`, into, func() error {
		rec, err := r.decode()
		if err != nil {
			x.Add("%v", err)
			return nil
		}
		x.Payouts++
		p := &rec.Payout
		if p.State.Valid() {
			x.states[p.State]++
		}
		if rec.Number >= x.meta.nextNumber {
			x.Add("payout %s has a number that is not given out yet", rec.Key)
		}
		if (payout.Key{ProjectID: uint32(project), PaymentID: id}) != p.Key || method != p.Method || minor != p.Amount.Minor || currency != p.Amount.Currency ||
			destination != text(p.Masked) || check != p.NeedsCheck() || exception != int16(p.Exception()) || attempts != p.Attempt || status != text(p.Reported.Status) || code != text(p.Reported.Code) || !since(final).Equal(p.FinalAt.Truncate(time.Microsecond)) {
			x.Add("the columns of payout %s were changed, and its record was not", rec.Key)
		}
		n, led, err := rec.Replay()
		x.Events += n
		switch {
		case err != nil:
			x.Add("%v", err)
		case led != 0:
			x.Add("payout %s is %s, and its events lead to %s", rec.Key, rec.State, led)
		}
		if p.OpenAtGate() {
			x.gates[p.Host]++
		}
		if len(p.Places) > 0 {
			x.fresh[p.Places[0].Batch]++
		}
		if p.Open() && p.State != payout.StateNew && p.State != payout.StateSending && p.PollAt.IsZero() {
			x.Add("payout %s is open, and no poll is planned", rec.Key)
		}
		if (p.State == payout.StateSending) != (p.Owner != 0) {
			x.Add("payout %s is being sent, and no process holds it", rec.Key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return x.found(ctx)
}

// found makes sure that each payout's id leads to it, or to the one that took the id over.
func (x *examining) found(ctx context.Context) error {
	taken := map[uint64]bool{} // payouts whose ids others took over
	var r row
	err := x.each(ctx, `select `+payoutColumns+` from @payouts p where exists (select 1 from @ids i where i.payout = p.number) order by p.number desc`, r.into(), func() error {
		rec, err := r.decode()
		if err == nil && rec.Prev != 0 {
			taken[rec.Prev] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return x.each(ctx, `select `+payoutColumns+` from @payouts p where not exists (select 1 from @ids i where i.payout = p.number) order by p.number desc`, r.into(), func() error {
		rec, err := r.decode()
		if err != nil {
			return nil //nolint:nilerr // the same
		}
		if !taken[rec.Number] {
			x.Add("payout %s cannot be found by its id: another file could bring it again", rec.Key)
		}
		if rec.Prev != 0 {
			taken[rec.Prev] = true
		}
		return nil
	})
}

// indexes must lead to payouts that say the same.
func (x *examining) indexes(ctx context.Context) error {
	var id [16]byte
	var to int64
	var r row
	err := x.each(ctx, `select i.id, i.payout, coalesce(p.number, 0), coalesce(p.state, ''), coalesce(p.owner, 0), p.poll_at, p.record from @ids i left join @payouts p on p.number = i.payout`,
		append([]any{&id, &to}, r.into()...), func() error {
			if r.number == 0 {
				x.Add("an id leads to payout number %d, which is missing", to)
				return nil
			}
			rec, err := r.decode()
			if err == nil && x.s.sealer.DigestID(rec.Key) != id {
				x.Add("the index of ids leads to payout number %d wrongly", to)
			}
			return nil
		})
	if err != nil {
		return err
	}
	kept := map[string]int64{}
	var gate string
	var n int64
	err = x.each(ctx, `select gate, sum(n)::bigint from @gates_open group by gate having sum(n) <> 0`, []any{&gate, &n}, func() error { kept[gate] = n; return nil })
	if err != nil {
		return err
	}
	if !maps.Equal(kept, x.gates) {
		x.Add("the counts of open payouts by gate are not what counting gives")
	}
	// What is to be sent must be found by a claim, and what is being sent by who recovers it.
	err = x.each(ctx, `select p.number, coalesce(p.state, ''), p.owner, p.poll_at, p.record from @payouts p join @lines l on l.payout = p.number join @batches b on b.number = l.batch
		where p.state = $1 and l.idx < b.cursor and not exists (select 1 from @freed f where f.batch = l.batch and f.idx = l.idx)`, r.into(), func() error {
		rec, err := r.decode()
		if err == nil && !rec.OfAnother() {
			x.Add("payout %s is not sent yet, and no run will find it", rec.Key)
		}
		return nil
	}, payout.StateNew.String())
	if err != nil {
		return err
	}
	return x.each(ctx, `select p.number from @payouts p where p.owner <> 0 and not exists (select 1 from @claims c where c.owner = p.owner and p.number = any(c.payouts))`, []any{&n}, func() error {
		x.Add("payout number %d is being sent, and no claim names it", n)
		return nil
	})
}

// rest reads what nothing else has.
func (x *examining) rest(ctx context.Context) error {
	rows, err := x.t.Query(ctx, x.s.sql(`select id, seq, event from @early`))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if _, err := x.s.scanEarly(rows); err != nil {
			x.Add("%v", err)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var number int64
	var value []byte
	return x.each(ctx, `select number, run from @runs`, []any{&number, &value}, func() error {
		if _, err := decodeRun(number, value); err != nil {
			x.Add("%v", err)
		}
		return nil
	})
}
