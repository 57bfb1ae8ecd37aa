package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// burst is how many rows one statement reads: no statement looks at the store for long,
// because what changes meanwhile would have to be kept for it.
const burst = 4_000

// SameContent compares a payout with a row; see store.Store.
func (s *Store) SameContent(p *payout.Payout, method string, canonical []byte) bool {
	return p.Content == s.sealer.DigestContent(method, canonical)
}

// Lookup finds payouts by their ids; see store.Store.
func (s *Store) Lookup(ctx context.Context, keys []payout.Key) (map[payout.Key]*payout.Payout, error) {
	found := map[payout.Key]*payout.Payout{}
	for part := range slices.Chunk(keys, 10_000) {
		ids := make([]payout.Digest, len(part))
		for i, k := range part {
			ids[i] = s.sealer.DigestID(k)
		}
		err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			rows, err := c.Query(ctx, s.sql(`select `+payoutColumns+` from @ids i join @payouts p on p.number = i.payout where i.id = any($1::uuid[])`), uuids(ids))
			if err != nil {
				return err
			}
			return eachRecord(rows, func(r codec.Record) error {
				if !r.FreesID() {
					found[r.Key] = &r.Payout
				}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

func eachRecord(rows pgx.Rows, do func(r codec.Record) error) error {
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(r.into()...); err != nil {
			return err
		}
		rec, err := r.decode()
		if err == nil {
			err = do(rec)
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

// Get returns a payout with its events; see store.Store.
func (s *Store) Get(ctx context.Context, key payout.Key) (rec payout.History, err error) {
	id := s.sealer.DigestID(key)
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		found := false
		b := &pgx.Batch{}
		(&tx{s: s}).readClock(b) // whoever looks at a payout may poll it
		b.Queue(s.sql(`select `+payoutColumns+` from @ids i join @payouts p on p.number = i.payout where i.id = $1`), [16]byte(id)).Query(func(rows pgx.Rows) error {
			return eachRecord(rows, func(r codec.Record) (err error) {
				found = true
				rec, err = r.Full(true)
				return err
			})
		})
		if err := c.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		switch {
		case !found:
			return fmt.Errorf("%s: %w", key, store.ErrNoPayout)
		case rec.Key != key:
			return fmt.Errorf("%w: the id of %s leads to another payout", store.ErrDamaged, key)
		}
		return nil
	})
	return rec, err
}

// Row returns a row of a payout; see store.Store.
func (s *Store) Row(ctx context.Context, p payout.Payout, at payout.Place) (columns []string, out store.Line, err error) {
	var sealed []byte
	var line int64
	var header store.Batch
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		if header, err = (&tx{s: s, c: c.Conn()}).writer(ctx).header(at.Batch); err != nil {
			return err
		}
		err := c.QueryRow(ctx, s.sql(`select line, sealed from @lines where batch = $1 and idx = $2`), int64(at.Batch), int64(at.Index)).Scan(&line, &sealed)
		if errors.Is(err, pgx.ErrNoRows) {
			err = fmt.Errorf("%w: row %d of batch number %d is missing", store.ErrDamaged, at.Index+1, at.Batch)
		}
		return err
	})
	if err != nil {
		return nil, out, err
	}
	out = store.Line{Index: int(at.Index), Line: int(line), Payout: p}
	out.Cells, err = s.sealer.Open(sealed, p.Key, at.Batch, at.Index)
	return header.Columns, out, err
}

// wanted is a filter with its batch looked up.
type wanted struct {
	store.Filter
	rules payout.Rules
	batch uint32
}

func (f wanted) has(p *payout.Payout) bool {
	return (len(f.States) == 0 || slices.Contains(f.States, p.State)) && (f.batch == 0 || p.In(f.batch)) &&
		(f.Gate == "" || f.Others == (p.Host != "" && !f.rules.SameGate(p.Host, f.Gate)))
}

// List streams payouts; see store.Store.
func (s *Store) List(ctx context.Context, f store.Filter) iter.Seq2[payout.History, error] {
	return stream(func(yield func(payout.History) bool) error {
		w := wanted{Filter: f, rules: s.o.Rules}
		if f.Batch != "" {
			b, err := s.readHeader(ctx, f.Batch)
			if err != nil {
				return err
			}
			w.batch = b.Number
		}
		given := 0
		from := int64(-1)
		if f.After > 0 {
			from = int64(f.After)
		}
		for {
			some, next, err := s.listBurst(ctx, w, from)
			if err != nil {
				return err
			}
			for _, r := range some {
				if f.Limit > 0 && given >= f.Limit || !yield(r) {
					return nil
				}
				given++
			}
			if next < 0 {
				return nil
			}
			from = next
		}
	})
}

// listBurst reads payouts from behind a row of the batch, or a number, on. It returns where
// to go on, -1 at the end.
func (s *Store) listBurst(ctx context.Context, w wanted, from int64) (out []payout.History, next int64, err error) {
	states := make([]string, len(w.States))
	for i, is := range w.States {
		states[i] = is.String()
	}
	statement := `select p.number, ` + payoutColumns + ` from @payouts p where p.number > $1 and (cardinality($2::text[]) = 0 or p.state = any($2)) order by p.number limit $3`
	args := []any{from, states, burst}
	if w.batch != 0 {
		statement = `select l.idx, ` + payoutColumns + ` from @lines l join @payouts p on p.number = l.payout where l.idx > $1 and (cardinality($2::text[]) = 0 or p.state = any($2)) and l.batch = $4 order by l.idx limit $3`
		args = append(args, int64(w.batch))
	}
	if w.Exception != payout.NoException {
		statement = `select p.number, ` + payoutColumns + ` from @payouts p where p.number > $1 and (cardinality($2::text[]) = 0 or p.state = any($2)) and p.exception = $4 order by p.number limit $3`
		args = []any{from, states, burst, int16(w.Exception)}
	}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, s.sql(statement), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		n, at := 0, int64(-1)
		for rows.Next() {
			var r row
			if err := rows.Scan(append([]any{&at}, r.into()...)...); err != nil {
				return err
			}
			n++
			rec, err := r.decode()
			if err != nil {
				return err
			}
			if !w.has(&rec.Payout) {
				continue
			}
			full, err := rec.Full(w.Events)
			if err != nil {
				return err
			}
			out = append(out, full)
		}
		if next = at; n < burst {
			next = -1
		}
		return rows.Err()
	})
	return out, next, err
}

// Lines streams the rows of a batch; see store.Store. The next burst is read while one is
// looked at.
func (s *Store) Lines(ctx context.Context, batch string) iter.Seq2[store.Line, error] {
	return stream(func(yield func(store.Line) bool) error {
		header, err := s.readHeader(ctx, batch)
		if err != nil {
			return err
		}
		type read struct {
			lines []store.Line
			err   error
		}
		ctx, stop := context.WithCancel(ctx)
		ahead := make(chan read)
		done := make(chan struct{})
		defer func() { stop(); <-done }()
		go func() {
			defer close(done)
			defer close(ahead)
			for index := 0; index < header.Rows; index += burst {
				lines, err := s.lineBurst(ctx, header, index)
				select {
				case ahead <- read{lines, err}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
			}
		}()
		given := 0
		for r := range ahead {
			if r.err != nil {
				return r.err
			}
			for _, l := range r.lines {
				if !yield(l) {
					return nil
				}
				given++
			}
		}
		if given < header.Rows {
			return ctx.Err()
		}
		return nil
	})
}

// lineBurst reads rows from an index on.
func (s *Store) lineBurst(ctx context.Context, header store.Batch, index int) (out []store.Line, err error) {
	to := min(index+burst, header.Rows)
	var sealed [][]byte
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		out, sealed = nil, nil
		return s.eachLine(ctx, c, header, index, to, "l.sealed", func(l store.Line, cells []byte) bool {
			out, sealed = append(out, l), append(sealed, cells)
			return true
		})
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Cells, err = s.sealer.Open(sealed[i], out[i].Payout.Key, header.Number, uint32(out[i].Index))
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// eachLine reads rows from an index on, without cells, which come sealed if they are asked for,
// until do wants no more. All of them must be there.
func (s *Store) eachLine(ctx context.Context, c *pgxpool.Conn, header store.Batch, index, to int, sealed string, do func(l store.Line, sealed []byte) bool) error {
	rows, err := c.Query(ctx, s.sql(`select l.idx, l.line, l.skip, `+sealed+`, coalesce(p.number, 0), coalesce(p.state, ''), coalesce(p.owner, 0), p.poll_at, p.record
		from @lines l left join @payouts p on p.number = l.payout where l.batch = $1 and l.idx >= $2 and l.idx < $3 order by l.idx`), int64(header.Number), int64(index), int64(to))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var l store.Line
		var line int64
		var cells []byte
		var r row
		if err := rows.Scan(append([]any{&l.Index, &line, &l.Skip, &cells}, r.into()...)...); err != nil {
			return err
		}
		if l.Line = int(line); l.Index != index {
			break
		}
		if r.number != 0 {
			rec, err := r.decode()
			if err != nil {
				return err
			}
			l.Payout = rec.Payout
		}
		index++
		if !do(l, cells) {
			return nil
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if index < to {
		return fmt.Errorf("%w: row %d of batch %s is missing", store.ErrDamaged, index+1, header.Short())
	}
	return nil
}

// Together reads several things; see store.Reader. Nobody waits for a reader here.
func (s *Store) Together(ctx context.Context, do func(ctx context.Context) error) error {
	return do(ctx)
}

// Page shows some rows; see store.Store.
func (s *Store) Page(ctx context.Context, q store.PageQuery) (page store.Page, err error) {
	q = q.Bounded()
	header, err := s.readHeader(ctx, q.Batch)
	if err != nil {
		return page, err
	}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		page = store.Page{Next: -1}
		to := min(q.From+q.Scan, header.Rows)
		more := false
		err := s.eachLine(ctx, c, header, q.From, to, "null::bytea", func(l store.Line, _ []byte) bool {
			more = l.Index+1 < header.Rows
			return page.Add(&q, &l)
		})
		if more {
			page.Next = q.From + page.Looked
		}
		return err
	})
	return page, err
}

// NextDue is the earliest PollAt; see store.Store.
func (s *Store) NextDue(ctx context.Context) (at time.Time, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		var first *time.Time
		err := c.QueryRow(ctx, s.sql(`select min(poll_at) from @payouts where poll_at is not null`)).Scan(&first)
		at = since(first)
		return err
	})
	return at, err
}
