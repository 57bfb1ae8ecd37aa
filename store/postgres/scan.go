package postgres

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"masspay/payout"
	"masspay/store"
)

// lineRow is a row of a batch with its payout, as a scan reads it.
type lineRow struct {
	index  int64
	sealed []byte
	payout row
}

// Rows that became New again behind the cursor come first, then those from the cursor on, in
// line order. The payouts are locked in the order of their numbers, as everywhere.
const (
	selectFreed = `select l.idx, l.sealed, ` + payoutColumns + ` from (select f.idx from @freed f where f.batch = $1 and f.idx > $2 and f.idx < $3 order by f.idx limit $4) f
		join @lines l on l.batch = $1 and l.idx = f.idx join @payouts p on p.number = l.payout order by p.number for no key update of p`
	selectLines = `select l.idx, l.sealed, ` + payoutColumns + ` from (select * from @lines where batch = $1 and idx >= $2 and idx < $3 order by idx) l
		join @payouts p on p.number = l.payout order by p.number for no key update of p`
)

func (s *claimScan) run(ctx context.Context) (more bool, err error) {
	if s.from >= -1 {
		if more, err = s.freed(ctx); more || err != nil {
			return more, err
		}
	}
	for len(s.out) < s.c.N && s.cursor < int64(s.header.Rows) {
		if s.read >= burstReads {
			return true, nil
		}
		to := min(s.cursor+int64(max(s.c.N-len(s.out), 1)), int64(s.header.Rows))
		rows, err := s.rows(ctx, selectLines, int64(s.header.Number), s.cursor, to)
		if err != nil {
			return false, err
		}
		for _, l := range rows {
			keep, err := s.take(ctx, l)
			if err != nil {
				return false, err
			}
			if keep {
				s.w.freed[payout.Place{Batch: s.header.Number, Index: uint32(l.index)}] = true
			}
		}
		s.read += int(to - s.cursor)
		s.cursor = to
	}
	return false, nil
}

// freed claims the rows that became New again; more says that the transaction is to end
// before they do.
func (s *claimScan) freed(ctx context.Context) (more bool, err error) {
	for len(s.out) < s.c.N {
		if s.read >= burstReads {
			return true, nil
		}
		limit := int64(max(s.c.N-len(s.out), 1))
		rows, err := s.rows(ctx, selectFreed, int64(s.header.Number), s.from, s.cursor, limit)
		if err != nil {
			return false, err
		}
		if len(rows) == 0 {
			s.from = -2 // they are through
			return false, nil
		}
		for _, l := range rows {
			keep, err := s.take(ctx, l)
			if err != nil {
				return false, err
			}
			if !keep {
				s.gone = append(s.gone, l.index)
			}
			s.from = l.index
		}
		s.read += len(rows)
	}
	return false, nil
}

// rows reads rows, locked, and returns them in line order.
func (s *claimScan) rows(ctx context.Context, statement string, args ...any) ([]*lineRow, error) {
	got, err := s.w.t.c.Query(ctx, s.s.sql(statement), args...)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(got, func(r pgx.CollectableRow) (*lineRow, error) {
		l := &lineRow{}
		return l, r.Scan(append([]any{&l.index, &l.sealed}, l.payout.into()...)...)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *lineRow) int { return cmp.Compare(a.index, b.index) })
	return all, s.readFamilies(ctx, all)
}

// take claims the payout of one row if it is New. It reports whether the row must be
// looked at again.
func (s *claimScan) take(ctx context.Context, l *lineRow) (keep bool, err error) {
	if err := s.w.keep(&l.payout); err != nil {
		return false, err
	}
	r := s.w.records[uint64(l.payout.number)]
	if r.State != payout.StateNew || r.OfAnother() {
		return false, nil
	}
	if !r.Claimable(s.s.o.Rules, s.c.Host) || s.skip[r.Key] {
		return true, nil
	}
	e := payout.Event{Key: r.Key, Source: payout.FromRun, At: s.now, Host: s.c.Host}
	if s.epoch != 0 && r.Epoch != s.epoch {
		e.Kind, e.Source, e.Epoch, e.Tick, e.Since = payout.Suspected, payout.FromStore, s.epoch, s.w.Tick(), s.copied
	} else {
		e.Kind, e.Attempt, e.Owner, e.Batch = payout.Claimed, r.Attempt+1, uint64(s.s.owner.id), s.header.Number
	}
	cells, err := s.s.sealer.Open(l.sealed, r.Key, s.header.Number, uint32(l.index))
	if err != nil {
		return false, err
	}
	if e.Kind == payout.Claimed && s.mayHaveFamily(r) {
		blocker, err := s.w.retryBlocker(ctx, r.Key, r.Amount, payout.Payee(s.header.Columns, cells))
		if err != nil {
			return false, err
		}
		if blocker.Same {
			s.blocked = append(s.blocked, store.Blocked{Key: r.Key, By: blocker.By})
			return true, nil
		}
	}
	change, err := s.w.apply(r, &e)
	if err != nil {
		return false, err
	}
	s.wrote = true
	if e.Kind == payout.Claimed {
		s.out = append(s.out, store.Claimed{Payout: change.After, Columns: s.header.Columns, Cells: cells})
		s.numbers = append(s.numbers, l.payout.number)
	}
	return false, nil
}

// flush adds what writes the claim with its number.
func (s *claimScan) flush(b *pgx.Batch, n int64) error {
	for _, index := range s.gone {
		delete(s.w.freed, payout.Place{Batch: s.header.Number, Index: uint32(index)})
	}
	if len(s.gone) > 0 {
		b.Queue(s.s.sql(`delete from @freed where batch = $1 and idx = any($2)`), int64(s.header.Number), s.gone)
	}
	if err := s.w.flush(b); err != nil {
		return err
	}
	b.Queue(s.s.sql(`update @batches set cursor = $2 where number = $1 and cursor <> $2`), int64(s.header.Number), s.cursor)
	if len(s.numbers) > 0 {
		b.Queue(s.s.sql(`insert into @claims (owner, n, payouts) values ($1, $2, $3)`), s.s.owner.id, n, s.numbers)
	}
	return nil
}

// header returns a batch without its counts. It may be one that was read before: whoever
// uses its number compares the id.
func (s *Store) header(ctx context.Context, id string) (store.Batch, error) {
	s.mu.Lock()
	for _, b := range s.headers {
		if b.ID == id {
			s.mu.Unlock()
			return b, nil
		}
	}
	s.mu.Unlock()
	return s.readHeader(ctx, id)
}

// readHeader reads it now.
func (s *Store) readHeader(ctx context.Context, id string) (store.Batch, error) {
	b, err := s.Batch(ctx, id)
	if err != nil {
		return b, err
	}
	b.Counts, b.Held, b.ChangedAt = nil, nil, time.Time{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers[int64(b.Number)] = b
	return b, nil
}

// forgetHeaders forgets which number is which batch's.
func (s *Store) forgetHeaders() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.headers)
}

func decodeHeader(id, value []byte) (store.Batch, error) {
	var b store.Batch
	err := unmarshal("batch", id, value, &b)
	if err == nil && b.ID != hex.EncodeToString(id) {
		err = fmt.Errorf("%w: batch %x leads to another", store.ErrDamaged, id)
	}
	return b, err
}
