package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// In the table of incoming rows, payout is null for a payout that is new, the row's own
// number for one that is new under an id that was cancelled, and otherwise the number of
// the known one; 0: the row is skipped.
const (
	incomingRowColumns = `n.idx, n.number, n.line, n.sealed, n.project, n.payment_id, n.method, n.minor, n.currency, n.destination, n.content`

	// All that is known is sorted once, as numbers only; the rows themselves come in bursts.
	declareKnown = `declare known no scroll cursor for select i.payout, n.idx from incoming n join @ids i on i.id = n.id order by i.payout, n.idx`
	selectKnown  = `select ` + incomingRowColumns + `, ` + payoutColumns + ` from unnest($1::bigint[], $2::bigint[]) as u (payout, idx) join incoming n on n.idx = u.idx
		join @payouts p on p.number = u.payout order by p.number, n.idx for no key update of p`

	selectRetries = `select ` + incomingRowColumns + ` from incoming n where n.payout is null and (n.idx = any($1) or exists (select 1 from @families f where f.id = n.id)) order by n.idx`

	updateKnown = `update incoming n set payout = u.payout, record = coalesce(u.record, n.record) from unnest($1::bigint[], $2::bigint[], $3::bytea[]) as u (idx, payout, record) where n.idx = u.idx`
)

// arriving is a row that was brought in, read back.
type arriving struct {
	index, number, line, project, minor           int64
	sealed, content                               []byte
	paymentID, method, currency, destinationShown string
}

func (a *arriving) into() []any {
	return []any{&a.index, &a.number, &a.line, &a.sealed, &a.project, &a.paymentID, &a.method, &a.minor, &a.currency, &a.destinationShown, &a.content}
}

func (a *arriving) key() payout.Key {
	return payout.Key{ProjectID: uint32(a.project), PaymentID: a.paymentID}
}

// row is the row as it came, but for what it will be signed over.
func (l *load) row(a *arriving) (store.Row, error) {
	cells, err := l.s.sealer.Open(a.sealed, a.key(), l.b.Number, uint32(a.index))
	return store.Row{
		Line: int(a.line), Key: a.key(), Method: a.method, Amount: payout.Amount{Minor: a.minor, Currency: a.currency}, Masked: a.destinationShown, Cells: cells,
	}, err
}

// met is what is written of the incoming rows whose ids are known.
type met struct {
	rows, payouts []int64
	records       [][]byte
}

// meet goes through the rows whose ids are known. The lock on early reports is held, so
// that no cancelled payout comes to life until the load is through.
func (l *load) meet(ctx context.Context, w *writer) error {
	if _, err := w.t.c.Exec(ctx, l.s.sql(declareKnown)); err != nil {
		return err
	}
	starting := map[uint64]bool{} // cancelled payouts whose ids start over
	for first := true; ; first = false {
		var payouts, rows []int64
		got, err := w.t.c.Query(ctx, fetchKnown)
		if err == nil {
			var payout, row int64
			_, err = pgx.ForEachRow(got, []any{&payout, &row}, func() error {
				payouts, rows = append(payouts, payout), append(rows, row)
				return nil
			})
		}
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return w.t.plan(ctx, manyRows)
		}
		if first {
			if err := w.t.plan(ctx, fewRows); err != nil {
				return err
			}
		}
		if err := l.meetSome(ctx, w, payouts, rows, starting); err != nil {
			return err
		}
	}
}

var fetchKnown = fmt.Sprintf("fetch %d from known", loadChunk)

// meetSome goes through some of them, in the order of the payouts' numbers.
func (l *load) meetSome(ctx context.Context, w *writer, payouts, indexes []int64, starting map[uint64]bool) error {
	rows, err := w.t.c.Query(ctx, l.s.sql(selectKnown), payouts, indexes)
	if err != nil {
		return err
	}
	defer rows.Close()
	var m met
	for rows.Next() {
		var a arriving
		var r row
		err := rows.Scan(append(a.into(), r.into()...)...)
		if err == nil {
			err = w.keep(&r)
		}
		if err == nil {
			err = l.known1(w, &a, w.records[uint64(r.number)], &m, starting)
		}
		if err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(m.rows) != len(indexes) {
		return fmt.Errorf("%w: ids lead to payouts that are not there", store.ErrDamaged)
	}
	b := &pgx.Batch{}
	if err := w.flushPayouts(b); err != nil {
		return err
	}
	b.Queue(updateKnown, m.rows, m.payouts, m.records)
	if err := w.t.send(ctx, b); err != nil {
		return err
	}
	clear(w.records)
	clear(w.changed)
	return nil
}

// known1 is one row whose id is known.
func (l *load) known1(w *writer, a *arriving, r *codec.Record, m *met, starting map[uint64]bool) error {
	if r.Key != a.key() {
		return fmt.Errorf("%w: the id of %s leads to another payout", store.ErrDamaged, a.key())
	}
	at := payout.Place{Batch: l.b.Number, Index: uint32(a.index)}
	m.rows = append(m.rows, a.index)
	if r.FreesID() {
		if starting[r.Number] {
			return store.ErrDuplicateID
		}
		starting[r.Number] = true
		row, err := l.row(a)
		if err != nil {
			return err
		}
		fresh := newRecord(row, payout.Digest(a.content), uint64(a.number), at)
		fresh.Prev = r.Number
		m.payouts, m.records = append(m.payouts, a.number), append(m.records, fresh.Encode(be64(fresh.Number)))
		return nil
	}
	if r.Content != payout.Digest(a.content) {
		row, err := l.row(a)
		if err != nil {
			return err
		}
		return &store.ConflictError{Row: row, Known: r.Payout}
	}
	if r.Newer {
		return fmt.Errorf("payout %s: %w", r.Key, store.ErrNewer)
	}
	r.Places = append(r.Places, at)
	w.changed[r.Number] = true
	w.count(l.b.Number, &r.Payout, +1)
	l.known++
	m.payouts, m.records = append(m.payouts, int64(r.Number)), append(m.records, nil)
	return nil
}

// refuseRetries refuses rows that pay once more what may be paid. What else the file
// brings does not count.
func (l *load) refuseRetries(ctx context.Context, w *writer) error {
	rows, err := w.t.c.Query(ctx, l.s.sql(selectRetries), l.retryRows)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (arriving, error) {
		var a arriving
		return a, r.Scan(a.into()...)
	})
	if err != nil {
		return err
	}
	for i := range all {
		row, err := l.row(&all[i])
		if err != nil {
			return err
		}
		blocker, err := w.retryBlocker(ctx, row.Key, row.Amount, payout.Payee(l.b.Columns, row.Cells))
		if err != nil {
			return err
		}
		if blocker.Same {
			return &store.RetryError{Row: row, By: blocker.By}
		}
	}
	return nil
}

const insertPayouts = `insert into @payouts (number, project, payment_id, method, minor, currency, destination, state, needs_check, attempts, status, code, owner, record)
	select number, project, payment_id, method, minor, currency, destination, $1, false, 0, '', '', 0, record from incoming where (payout is null or payout = number) and number <> 0 order by number`

// finish makes the batch count, and applies what the gate said early.
func (l *load) finish(ctx context.Context, t *tx, w *writer) error {
	b := &pgx.Batch{}
	b.Queue(l.s.sql(`insert into @ids (id, payout) select id, number from incoming where payout is null order by id`))
	b.Queue(l.s.sql(`update @ids i set payout = n.number from incoming n where n.payout = n.number and n.number <> 0 and i.id = n.id`))
	b.Queue(l.s.sql(insertPayouts), payout.StateNew.String())
	b.Queue(l.s.sql(`insert into @lines (batch, idx, payout, line, skip, sealed) select $1, idx, coalesce(payout, number), line, skip, sealed from incoming order by idx`), int64(l.b.Number))
	b.Queue(l.s.sql(`update @meta set next_number = $1, next_batch = $2`), int64(l.base)+int64(l.b.Rows), int64(l.b.Number)+1)
	b.Queue(`select currency, count(*), sum(minor)::bigint from incoming where payout is null or payout = number and number <> 0 group by 1`).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var currency string
			var c tally
			if err := rows.Scan(&currency, &c.n, &c.minor); err != nil {
				return err
			}
			k := countKey{batch: l.b.Number, state: payout.StateNew, currency: currency}
			was := w.counts[k]
			was.n, was.minor = was.n+c.n, was.minor+c.minor
			w.counts[k] = was
			l.fresh += int(c.n)
		}
		return rows.Err()
	})
	l.b.LoadedAt = l.s.o.now().UTC().Truncate(time.Microsecond)
	header, err := json.Marshal(l.b)
	if err != nil {
		return err
	}
	var hold []byte
	if l.b.Held != nil {
		if hold, err = json.Marshal(l.b.Held); err != nil {
			return err
		}
	}
	b.Queue(l.s.sql(`insert into @batches (number, id, header, rows, loaded_at, hold) values ($1, $2, $3, $4, $5, $6)`), int64(l.b.Number), l.sum, codec.Summed(l.sum, header), int64(l.b.Rows), l.b.LoadedAt, hold)
	if err := w.joinFamilies(ctx, b, l.retries); err != nil {
		return err
	}
	if err := t.send(ctx, b); err != nil {
		return err
	}
	if err := l.sightings(ctx, t); err != nil {
		return err
	}
	for _, a := range l.allow {
		if err := l.allowed(ctx, t, a); err != nil {
			return err
		}
	}
	b = &pgx.Batch{}
	if err := t.takeNumber(ctx, b, l.b.Series); err != nil {
		return err
	}
	if _, err := t.note(ctx, b, store.LoadedEntry(l.b, l.fresh)); err != nil {
		return err
	}
	w.counting.Totals.States[payout.StateNew] += int64(l.fresh)
	w.flushCounts(b, nil)
	clear(w.counts)
	clear(w.gates)
	if l.early, err = w.applyEarly(ctx, b); err != nil {
		return err
	}
	if err := w.flush(b); err != nil {
		return err
	}
	if err := t.send(ctx, b); err != nil {
		return err
	}
	if l.b, err = l.s.readBatch(ctx, t.c, `b.number = $1`, int64(l.b.Number)); err != nil {
		return err
	}
	return t.commit(ctx, nil)
}
