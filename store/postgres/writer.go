package postgres

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// writer changes payouts within one transaction and keeps their counts in step. It holds
// the rows that it has read, under their locks, and writes them together at the end.
type writer struct {
	s        *Store
	t        *tx
	ctx      context.Context // of the transaction
	meta     *meta           // as of the transaction; nil: not read yet
	is       identity        // with meta
	seen     marker          // the witness of before them
	records  map[uint64]*codec.Record
	changed  map[uint64]bool
	counts   map[countKey]tally
	gates    map[string]int64 // changes of open payouts
	counting store.Counting   // what passed in this transaction
	freed    map[payout.Place]bool
	cells    map[payout.Place][]byte          // sealed, of rows that may be looked at
	early    map[payout.Digest][]payout.Event // that wait for an id, with those of this transaction

	earlySeq map[payout.Digest]uint32 // of the next one of an id

	notes []store.Entry // for the log, with the commit
}

type countKey struct {
	batch    uint32
	state    payout.State
	currency string
	code     string
}

type tally struct{ n, minor, checks, aside, stuck int64 }

func (t *tx) writer(ctx context.Context) *writer {
	return &writer{
		s: t.s, t: t, ctx: ctx, records: map[uint64]*codec.Record{}, changed: map[uint64]bool{}, counts: map[countKey]tally{},
		gates: map[string]int64{}, freed: map[payout.Place]bool{}, cells: map[payout.Place][]byte{},
	}
}

// payoutColumns are those that a record is held against whenever it is read.
const payoutColumns = `p.number, p.state, p.owner, p.poll_at, p.record`

// row is a row of payouts as it is read.
type row struct {
	number, owner int64
	state         string
	poll          *time.Time
	record        []byte
}

func (r *row) into() []any { return []any{&r.number, &r.state, &r.owner, &r.poll, &r.record} }

// decode reads the record. Columns that say something else were changed by someone else.
func (r *row) decode() (codec.Record, error) {
	rec, err := codec.DecodeRecord(be64(uint64(r.number)), r.record)
	if err != nil {
		return rec, err
	}
	rec.Room = 0
	if rec.State.String() != r.state || int64(rec.Owner) != r.owner || !rec.PollAt.Equal(since(r.poll)) {
		return rec, fmt.Errorf("%w: the columns of payout %s were changed, and its record was not", store.ErrDamaged, rec.Key)
	}
	return rec, nil
}

// read reads the rest of rows and keeps them; a row that is kept already stays as it is.
func (w *writer) read(rows pgx.Rows) error {
	for rows.Next() {
		var r row
		if err := rows.Scan(r.into()...); err != nil {
			return err
		}
		if err := w.keep(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (w *writer) keep(r *row) error {
	if w.records[uint64(r.number)] != nil {
		return nil
	}
	rec, err := r.decode()
	if err != nil {
		return err
	}
	w.records[uint64(r.number)] = &rec
	return nil
}

// apply runs one event through payout.Next.
func (w *writer) apply(r *codec.Record, e *payout.Event) (store.Change, error) {
	before := r.Payout
	change, err := r.Step(w.s.o.Rules, e, w.s.begun().Number, w)
	if err != nil {
		return change, err
	}
	w.counting.Count(e, &change)
	if change.Effect == payout.Ignored {
		return change, nil
	}
	if entry, ok := store.EntryOf(*e, change.After); ok {
		if len(before.Places) > 0 {
			header, err := w.header(before.Places[0].Batch)
			if err != nil {
				return change, err
			}
			entry.Batch, entry.File = header.ID, header.Name
		}
		w.notes = append(w.notes, entry)
	}
	return change, w.replace(&before, r)
}

// replace notes what a change means for everything that is derived from a payout.
func (w *writer) replace(before *payout.Payout, r *codec.Record) error {
	if r.Newer {
		return fmt.Errorf("payout %s: %w", r.Key, store.ErrNewer)
	}
	after := &r.Payout
	w.changed[r.Number] = true
	w.countGate(before, -1)
	w.countGate(after, +1)
	for _, at := range after.Places {
		w.count(at.Batch, before, -1)
		w.count(at.Batch, after, +1)
		if after.State == payout.StateNew && before.State != payout.StateNew && !after.OfAnother() {
			w.freed[at] = true
		}
	}
	return nil
}

func (w *writer) count(batch uint32, p *payout.Payout, by int64) {
	k := countKey{batch, p.State, p.Amount.Currency, text(p.Reason())}
	c := w.counts[k]
	c.n += by
	c.minor += by * p.Amount.Minor
	if p.NeedsCheck() {
		c.checks += by
		c.aside += by * p.Amount.Minor
	}
	if p.Stuck() {
		c.stuck += by
	}
	w.counts[k] = c
}

// countGate counts payouts that a gate may know and has not decided.
func (w *writer) countGate(p *payout.Payout, by int64) {
	if p.OpenAtGate() {
		w.gates[p.Host] += by
	}
}

const updatePayouts = `update @payouts p set state = u.state, needs_check = u.needs_check, attempts = u.attempts, status = u.status, code = u.code,
	final_at = u.final_at, owner = u.owner, poll_at = u.poll_at, record = u.record, exception = u.exception
	from unnest($1::bigint[], $2::text[], $3::boolean[], $4::integer[], $5::text[], $6::text[], $7::timestamptz[], $8::bigint[], $9::timestamptz[], $10::bytea[], $11::smallint[])
	as u (number, state, needs_check, attempts, status, code, final_at, owner, poll_at, record, exception) where p.number = u.number`

const upsertCounts = `insert into @counts as c (batch, state, currency, code, slot, n, minor, checks, aside, stuck, changed_at)
	select u.batch, u.state, u.currency, u.code, $3, u.n, u.minor, u.checks, u.aside, u.stuck, $10
	from unnest($1::bigint[], $2::smallint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $11::text[]) as u (batch, state, currency, n, minor, checks, aside, stuck, code)
	on conflict (batch, state, currency, code, slot) do update set n = c.n + excluded.n, minor = c.minor + excluded.minor, checks = c.checks + excluded.checks,
	aside = c.aside + excluded.aside, stuck = c.stuck + excluded.stuck, changed_at = coalesce(excluded.changed_at, c.changed_at)`

// flush adds the statements that write what was changed.
func (w *writer) flush(b *pgx.Batch) error {
	if err := w.flushPayouts(b); err != nil {
		return err
	}
	changedAt := w.s.o.now().UTC()
	w.flushCounts(b, &changedAt)
	if len(w.freed) > 0 {
		batches, rows := make([]int64, 0, len(w.freed)), make([]int64, 0, len(w.freed))
		for at := range w.freed {
			batches, rows = append(batches, int64(at.Batch)), append(rows, int64(at.Index))
		}
		b.Queue(w.s.sql(`insert into @freed (batch, idx) select * from unnest($1::bigint[], $2::bigint[]) order by 1, 2 on conflict do nothing`), batches, rows)
	}
	return nil
}

func (w *writer) flushPayouts(b *pgx.Batch) error {
	if len(w.changed) == 0 {
		return nil
	}
	n := len(w.changed)
	numbers, states, checks, attempts := make([]int64, 0, n), make([]string, 0, n), make([]bool, 0, n), make([]int32, 0, n)
	statuses, codes, finals := make([]string, 0, n), make([]string, 0, n), make([]pgtype.Timestamptz, 0, n)
	owners, polls, records := make([]int64, 0, n), make([]pgtype.Timestamptz, 0, n), make([][]byte, 0, n)
	exceptions := make([]int16, 0, n)
	for number := range w.changed {
		numbers = append(numbers, int64(number))
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		r := w.records[uint64(number)]
		if r.Newer {
			return fmt.Errorf("payout %s: %w", r.Key, store.ErrNewer)
		}
		p := &r.Payout
		p.PollAt = p.PollAt.Truncate(time.Microsecond)
		states, checks, attempts = append(states, p.State.String()), append(checks, p.NeedsCheck()), append(attempts, int32(p.Attempt))
		statuses, codes = append(statuses, text(p.Reported.Status)), append(codes, text(p.Reported.Code))
		finals, polls = append(finals, timestamp(p.FinalAt)), append(polls, timestamp(p.PollAt))
		owners, records = append(owners, int64(p.Owner)), append(records, r.Encode(be64(r.Number)))
		exceptions = append(exceptions, int16(p.Exception()))
	}
	b.Queue(w.s.sql(updatePayouts), numbers, states, checks, attempts, statuses, codes, finals, owners, polls, records, exceptions)
	return nil
}

// text is what a column takes of a text: no zero bytes, which PostgreSQL does not know.
func text(s string) string {
	for i := range len(s) {
		if s[i] == 0 {
			return string(slices.DeleteFunc([]byte(s), func(b byte) bool { return b == 0 }))
		}
	}
	return s
}

func timestamp(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}
}

// flushCounts adds the changes of the counts. All processes take the rows in one order.
func (w *writer) flushCounts(b *pgx.Batch, changedAt *time.Time) {
	defer w.flushFlows(b)
	var keys []countKey
	for k, c := range w.counts {
		if c != (tally{}) || changedAt != nil {
			keys = append(keys, k)
		}
	}
	if len(keys) > 0 {
		slices.SortFunc(keys, func(a, b countKey) int {
			return cmp.Or(cmp.Compare(a.batch, b.batch), cmp.Compare(a.state, b.state), cmp.Compare(a.currency, b.currency), cmp.Compare(a.code, b.code))
		})
		var cols [6][]int64
		states, currencies, codes := make([]int16, 0, len(keys)), make([]string, 0, len(keys)), make([]string, 0, len(keys))
		for _, k := range keys {
			c := w.counts[k]
			for i, v := range []int64{int64(k.batch), c.n, c.minor, c.checks, c.aside, c.stuck} {
				cols[i] = append(cols[i], v)
			}
			states, currencies, codes = append(states, int16(k.state)), append(currencies, k.currency), append(codes, k.code)
		}
		b.Queue(w.s.sql(upsertCounts), cols[0], states, w.s.slot, currencies, cols[1], cols[2], cols[3], cols[4], cols[5], changedAt, codes)
	}
	var gates []string
	for gate, n := range w.gates {
		if n != 0 {
			gates = append(gates, gate)
		}
	}
	if len(gates) == 0 {
		return
	}
	slices.Sort(gates)
	changes := make([]int64, 0, len(gates))
	for _, gate := range gates {
		changes = append(changes, w.gates[gate])
	}
	b.Queue(w.s.sql(`insert into @gates_open as g (gate, slot, n) select u.gate, $2, u.n from unnest($1::text[], $3::bigint[]) as u (gate, n)
		on conflict (gate, slot) do update set n = g.n + excluded.n`), gates, w.s.slot, changes)
}

// Tick is a moment on the store's clock; see codec.Surroundings. It was read when the
// transaction began.
func (w *writer) Tick() payout.Tick { return w.t.tick }

// Lifted reports whether a bar is gone; see codec.Surroundings. What is barred here was
// barred elsewhere, before the store came into this database: claims that were made here
// need no bar.
func (w *writer) Lifted(bar payout.Bar) (bool, error) {
	if err := w.readMeta(); err != nil {
		return false, err
	}
	return bar.Lifted(0, 0, w.meta.epoch), nil
}

// Place returns the row that a payout is sent from; see codec.Surroundings.
func (w *writer) Place(p *payout.Payout) (store.Batch, []string, error) {
	at := p.Places[0]
	cells, err := w.row(p.Key, at) // first: it makes sure of the header
	if err != nil {
		return store.Batch{}, nil, err
	}
	header, err := w.header(at.Batch)
	return header, cells, err
}

// row opens a row of a payout.
func (w *writer) row(key payout.Key, at payout.Place) ([]string, error) {
	sealed, there := w.cells[at]
	if !there {
		if err := w.readCells([]payout.Place{at}); err != nil {
			return nil, err
		}
		if sealed, there = w.cells[at]; !there {
			return nil, fmt.Errorf("%w: row %d of batch number %d is missing", store.ErrDamaged, at.Index+1, at.Batch)
		}
	}
	return w.s.sealer.Open(sealed, key, at.Batch, at.Index)
}

// readCells reads rows in one round trip.
func (w *writer) readCells(places []payout.Place) error {
	batches, rows := make([]int64, len(places)), make([]int64, len(places))
	for i, at := range places {
		batches[i], rows[i] = int64(at.Batch), int64(at.Index)
	}
	got, err := w.t.c.Query(w.ctx, w.s.sql(`select l.batch, l.idx, l.sealed, b.id from unnest($1::bigint[], $2::bigint[]) as u (batch, idx) join @lines l using (batch, idx) join @batches b on b.number = l.batch`), batches, rows)
	if err != nil {
		return err
	}
	defer got.Close()
	for got.Next() {
		var batch, row int64
		var sealed, id []byte
		if err := got.Scan(&batch, &row, &sealed, &id); err != nil {
			return err
		}
		w.s.mu.Lock()
		if b, known := w.s.headers[batch]; known && b.ID != hex.EncodeToString(id) {
			delete(w.s.headers, batch) // the database went back, and the number is another batch's
		}
		w.s.mu.Unlock()
		w.cells[payout.Place{Batch: uint32(batch), Index: uint32(row)}] = sealed
	}
	return got.Err()
}

// Copied reports whether the store is a restored copy; see codec.Surroundings.
func (w *writer) Copied() (restored bool, last time.Time, err error) {
	if err := w.readMeta(); err != nil {
		return false, last, err
	}
	older, _ := w.s.older(w.meta, w.is, w.seen)
	last = w.meta.claimed
	if w.meta.epoch != 0 {
		last = w.meta.copied
	}
	return older || w.meta.epoch != 0, last, nil
}

func (w *writer) readMeta() error {
	if w.meta != nil {
		return nil
	}
	var m meta
	var err error
	if w.seen, err = w.s.witness(); err != nil {
		return err
	}
	b := &pgx.Batch{}
	w.s.readMeta(b, &m)
	w.s.readIdentity(b, &w.is)
	if err := w.t.send(w.ctx, b); err != nil {
		return err
	}
	w.meta = &m
	return nil
}

// header returns a batch without its counts.
func (w *writer) header(number uint32) (store.Batch, error) {
	w.s.mu.Lock()
	b, known := w.s.headers[int64(number)]
	w.s.mu.Unlock()
	if known {
		return b, nil
	}
	var id, header []byte
	err := w.t.c.QueryRow(w.ctx, w.s.sql(`select id, header from @batches where number = $1`), int64(number)).Scan(&id, &header)
	if err != nil {
		return b, err
	}
	return decodeHeader(id, header)
}
