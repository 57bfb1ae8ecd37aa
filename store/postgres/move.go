package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// TakeOver takes everything of another store into this one, which must be empty, in one
// transaction, and counts on both sides. Where the same was taken over before, it only
// says what.
func (s *Store) TakeOver(ctx context.Context, i *codec.Image) (moved codec.MovedCounts, err error) {
	var m meta
	var is identity
	var there int
	err = s.transact(ctx, time.Minute, func(b *pgx.Batch) {
		b.Queue(lockAlone, s.lockNumber(lockLoad))
		b.Queue(lockAlone, s.lockNumber(lockEarly))
		s.readMeta(b, &m)
		s.readIdentity(b, &is)
		b.Queue(s.sql(`select count(*) from @batches`)).QueryRow(func(row pgx.Row) error { return row.Scan(&there) })
	}, func(ctx context.Context, t *tx) error {
		mover := &mover{s: s, t: t, i: i, w: t.writer(ctx)}
		if there > 0 {
			if m.nextNumber < i.NextNumber || mover.counted(ctx) != nil {
				return &store.ConfigError{Why: "the database has batches of its own already; nothing was moved, and the file goes on as before", Hint: "a database that masspay init has just made takes a store over"}
			}
			moved = mover.moved
			moved.Before = true
			return errors.Join(i.Handed(), t.commit(ctx, nil))
		}
		if err := mover.run(ctx); err != nil {
			return err
		}
		b := &pgx.Batch{}
		mover.w.flushCounts(b, nil)
		m.generation, m.claimed, m.epoch, m.copied = i.Generation+1, i.Claimed, 0, time.Time{}
		s.writeMeta(b, &m, is)
		b.Queue(s.sql(`update @meta set next_number = $1, next_batch = $2`), int64(i.NextNumber), int64(i.NextBatch))
		if err := t.send(ctx, b); err != nil {
			return err
		}
		if err := mover.counted(ctx); err != nil {
			return err
		}
		moved = mover.moved
		if err := mover.meetReports(ctx); err != nil {
			return err
		}
		// The old store first: a database that has everything beside a store that still
		// sends would pay twice; the other way round, the move is only to be repeated.
		if err := i.Handed(); err != nil {
			return err
		}
		return t.commit(ctx, nil)
	})
	if err != nil {
		return moved, s.plain(ctx, err)
	}
	return moved, s.saw(i.Generation+1, is, 0)
}

// mover is one move under way.
type mover struct {
	s     *Store
	t     *tx
	i     *codec.Image
	w     *writer
	moved codec.MovedCounts
}

func (m *mover) run(ctx context.Context) error {
	cursors := map[uint32]uint32{}
	for _, b := range m.i.Batches {
		if err := m.batch(ctx, b); err != nil {
			return err
		}
		cursors[b.Number] = b.Cursor
	}
	for _, part := range []func(context.Context) error{func(ctx context.Context) error { return m.payouts(ctx, cursors) }, m.lines, m.rest} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (m *mover) batch(ctx context.Context, b codec.BatchImage) error {
	sum, err := hex.DecodeString(b.ID)
	if err != nil {
		return err
	}
	header, err := json.Marshal(b.Batch)
	if err != nil {
		return err
	}
	var hold []byte
	if b.Held != nil {
		if hold, err = json.Marshal(b.Held); err != nil {
			return err
		}
	}
	_, err = m.t.c.Exec(ctx, m.s.sql(`insert into @batches (number, id, header, rows, cursor, hold, loaded_at) values ($1, $2, $3, $4, $5, $6, $7)`),
		int64(b.Number), sum, codec.Summed(sum, header), int64(b.Rows), int64(b.Cursor), hold, b.LoadedAt)
	return err
}

// table is the name of one of the store's tables.
func (s *Store) table(name string) pgx.Identifier { return pgx.Identifier{s.o.Schema, name} }

// copied copies rows of a sequence into a table.
func copied[T any](ctx context.Context, t *tx, table string, columns []string, all iter.Seq2[T, error], row func(T) ([]any, error)) (n int, err error) {
	next, stop := iter.Pull2(all)
	defer stop()
	var broken error
	_, err = t.c.CopyFrom(ctx, t.s.table(table), columns, pgx.CopyFromFunc(func() ([]any, error) {
		v, err, more := next()
		if !more {
			return nil, nil
		}
		var values []any
		if err == nil {
			values, err = row(v)
		}
		broken = err
		n++
		return values, err
	}))
	if broken != nil {
		return n, &rowsError{broken}
	}
	return n, err
}

var payoutTable = []string{"number", "project", "payment_id", "method", "minor", "currency", "destination", "state", "needs_check", "attempts", "status", "code", "final_at", "owner", "poll_at", "record", "exception"}

func (m *mover) payouts(ctx context.Context, cursors map[uint32]uint32) error {
	var free []payout.Place
	var prevs []uint64
	n, err := copied(ctx, m.t, "payouts", payoutTable, m.i.Payouts, func(r codec.Record) ([]any, error) {
		p := &r.Payout
		if r.Newer {
			return nil, fmt.Errorf("payout %s: %w", r.Key, store.ErrNewer)
		}
		if r.Prev != 0 {
			prevs = append(prevs, r.Prev)
		}
		m.w.countGate(p, +1)
		for _, at := range p.Places {
			m.w.count(at.Batch, p, +1)
			if p.State == payout.StateNew && !p.OfAnother() && at.Index < cursors[at.Batch] {
				free = append(free, at)
			}
		}
		return []any{
			int64(r.Number), int64(p.Key.ProjectID), text(p.Key.PaymentID), text(p.Method), p.Amount.Minor, p.Amount.Currency, text(p.Masked), p.State.String(), p.NeedsCheck(),
			int64(p.Attempt), text(p.Reported.Status), text(p.Reported.Code), timestamp(p.FinalAt), int64(0), timestamp(p.PollAt), r.Encode(be64(r.Number)), int16(p.Exception()),
		}, nil
	})
	if m.moved.Payouts = n; err != nil {
		return err
	}
	// An id leads to the last payout that has it.
	taken := map[uint64]bool{}
	for _, p := range prevs {
		taken[p] = true
	}
	_, err = copied(ctx, m.t, "ids", []string{"id", "payout"}, func(yield func(codec.Record, error) bool) {
		for r, err := range m.i.Payouts {
			if err == nil && taken[r.Number] {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}, func(r codec.Record) ([]any, error) {
		return []any{[16]byte(m.s.sealer.DigestID(r.Key)), int64(r.Number)}, nil
	})
	if err != nil {
		return err
	}
	_, err = copied(ctx, m.t, "freed", []string{"batch", "idx"}, func(yield func(payout.Place, error) bool) {
		for _, at := range free {
			if !yield(at, nil) {
				return
			}
		}
	}, func(at payout.Place) ([]any, error) { return []any{int64(at.Batch), int64(at.Index)}, nil })
	return err
}

func (m *mover) lines(ctx context.Context) error {
	n, err := copied(ctx, m.t, "lines", []string{"batch", "idx", "payout", "line", "skip", "sealed"}, m.i.Lines, func(l codec.LineImage) ([]any, error) {
		return []any{int64(l.Batch), int64(l.Index), int64(l.Payout), int64(l.Line), text(l.Skip), l.Sealed}, nil
	})
	m.moved.Rows = n
	return err
}

func (m *mover) rest(ctx context.Context) error {
	b := &pgx.Batch{}
	for id, endings := range m.i.Families {
		text := ""
		for i, e := range endings {
			if i > 0 {
				text += " "
			}
			text += e
		}
		b.Queue(m.s.sql(`insert into @families (id, endings) values ($1, $2)`), [16]byte(id), codec.Summed(id[:], []byte(text)))
	}
	seqs, err := m.earlySeqs(ctx)
	if err != nil {
		return err
	}
	for _, r := range m.i.Reports {
		key := earlyKey(r.ID, seqs[r.ID])
		b.Queue(m.s.sql(`insert into @early (id, seq, at, event) values ($1, $2, $3, $4)`), [16]byte(r.ID), int32(seqs[r.ID]), r.Event.At,
			codec.EncodeEarly(key, r.Event, m.s.sealer.SealReport(key, r.Event)))
		seqs[r.ID]++
	}
	for _, g := range m.i.Gates {
		b.Queue(m.s.sql(`insert into @gates (gate, at) values ($1, $2) on conflict do nothing`), g, m.s.o.now())
	}
	b.Queue(m.s.sql(`delete from @runs`)) // that of the move itself, and of init
	for _, r := range m.i.Runs {
		value, err := encodeRun(r)
		if err != nil {
			return err
		}
		b.Queue(m.s.sql(`insert into @runs (number, run) values ($1, $2)`), int64(r.Number), value)
		m.moved.Runs++
	}
	for name, last := range m.i.Series {
		m.t.putSeries(b, name, last)
	}
	w := m.t.writer(ctx)
	w.counting.Totals = m.i.Totals
	for batch, minutes := range m.i.Minutes {
		for i := range minutes {
			w.counting.Flow(batch, minutes[i].At).Plus(&minutes[i].Flow)
		}
	}
	w.flushFlows(b)
	b.Queue(lockAlone, m.s.lockNumber(lockAudit))
	b.Queue(m.s.sql(`delete from @audit`)) // the same: the log goes on where the old store's ends
	for _, l := range m.i.Audit {
		b.Queue(m.s.sql(`insert into @audit (seq, hash, entry) values ($1, $2, $3)`), int64(l.Seq), l.Hash[:], string(l.Text))
	}
	if err := m.t.send(ctx, b); err != nil {
		return err
	}
	_, err = copied(ctx, m.t, "sightings", []string{"batch", "account", "payout"}, m.i.Sightings, func(is codec.SightingImage) ([]any, error) {
		return []any{int64(is.Batch), is.Account[:], int64(is.Payout)}, nil
	})
	if err != nil {
		return err
	}
	_, err = copied(ctx, m.t, "customers", []string{"id", "accounts"}, m.i.Customers, func(c codec.CustomerImage) ([]any, error) {
		return []any{c.Customer[:], codec.EncodeRemembered(c.Customer[:], c.Accounts)}, nil
	})
	return err
}

// earlySeqs are the next numbers of reports that this store has kept already.
func (m *mover) earlySeqs(ctx context.Context) (map[payout.Digest]uint32, error) {
	rows, err := m.t.c.Query(ctx, m.s.sql(`select id, max(seq) + 1 from @early group by id`))
	if err != nil {
		return nil, err
	}
	seqs := map[payout.Digest]uint32{}
	var id [16]byte
	var next int32
	_, err = pgx.ForEachRow(rows, []any{&id, &next}, func() error { seqs[id] = uint32(next); return nil })
	return seqs, err
}

// meetReports applies what this store has heard of payouts before they came.
func (m *mover) meetReports(ctx context.Context) error {
	w := m.t.writer(ctx)
	b := &pgx.Batch{}
	if _, err := w.applyEarly(ctx, b); err != nil {
		return err
	}
	if err := w.flush(b); err != nil {
		return err
	}
	return m.t.send(ctx, b)
}

// counted counts on both sides: rows, payouts, and each batch by state.
func (m *mover) counted(ctx context.Context) error {
	var rows, payouts, ids int
	b := &pgx.Batch{}
	b.Queue(m.s.sql(`select (select count(*) from @lines), (select count(*) from @payouts), (select count(*) from @ids)`)).QueryRow(func(row pgx.Row) error { return row.Scan(&rows, &payouts, &ids) })
	if err := m.t.send(ctx, b); err != nil {
		return err
	}
	all, err := m.s.readBatches(ctx, m.t.c, "")
	if err != nil {
		return err
	}
	want := 0
	for n, b := range m.i.Batches {
		want += b.Rows
		if n >= len(all) || all[n].ID != b.ID || all[n].Rows != b.Rows {
			return fmt.Errorf("batch %s did not come over whole", b.Short())
		}
		if m.moved.Payouts > 0 && fmt.Sprint(all[n].Counts) != fmt.Sprint(b.Counts) { // what came over before may have gone on since
			return fmt.Errorf("batch %s came over with other counts: %v, and was %v", b.Short(), all[n].Counts, b.Counts)
		}
	}
	if rows < want || m.moved.Payouts > 0 && (rows != m.moved.Rows || payouts != m.moved.Payouts) {
		return fmt.Errorf("%d rows and %d payouts came over, of %d and %d", rows, payouts, m.moved.Rows, m.moved.Payouts)
	}
	m.moved.Batches, m.moved.Rows, m.moved.Payouts = len(m.i.Batches), want, payouts
	return nil
}
