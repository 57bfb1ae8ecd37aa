package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"masspay/payout"
	"masspay/store"
)

// burstReads is how many rows of a batch one transaction looks at.
const burstReads = 10_000

// Claim takes payouts for this process; see store.Store. Only what a commit that was
// acknowledged names is handed out: where that is not sure, the claim is looked up by its
// number before the next one, and given back.
func (s *Store) Claim(ctx context.Context, c store.Claim) (out store.Claims, err error) {
	if _, err := s.becomeOwner(ctx); err != nil {
		return out, err
	}
	if err := s.settleUnsure(ctx); err != nil {
		return out, err
	}
	header, err := s.header(ctx, c.Batch)
	if err != nil {
		return out, err
	}
	scan := &claimScan{c: c, s: s, header: header, skip: map[payout.Key]bool{}, family: map[payout.Digest]bool{}, from: -1}
	for _, k := range c.Skip {
		scan.skip[k] = true
	}
	for more := true; more; {
		if more, err = s.claimBurst(ctx, scan); err != nil {
			return store.Claims{}, err
		}
		out.Blocked = append(out.Blocked, scan.blocked...)
		if len(scan.out) > 0 {
			break
		}
	}
	out.Payouts = scan.out
	return out, nil
}

// claimScan walks a batch's rows for payouts to claim.
type claimScan struct {
	c      store.Claim
	s      *Store
	header store.Batch
	skip   map[payout.Key]bool
	from   int64 // the last of the freed rows that was looked at, by an earlier burst

	w        *writer
	families bool                   // some rows have retries
	family   map[payout.Digest]bool // which, of those that were read
	cursor   int64
	epoch    uint64
	copied   time.Time
	now      time.Time
	out      []store.Claimed
	numbers  []int64 // of out
	gone     []int64 // freed rows that are done with
	blocked  []store.Blocked
	wrote    bool
	read     int
}

// claimBurst scans one transaction's worth of rows; more says that the scan has not
// reached the end of the batch.
func (s *Store) claimBurst(ctx context.Context, scan *claimScan) (more bool, err error) {
	var m meta
	var is identity
	free := false
	var hold []byte
	var standby, fsync, pages string
	var database time.Time
	now := s.o.now()
	there, begunEpoch := false, false
	var id []byte
	n := s.owner.nextClaim()
	begun, seenBefore := sinceBoot(), s.generationSeen()
	seen, err := s.witness()
	if err != nil {
		return false, err
	}
	err = s.write(ctx, func(b *pgx.Batch) {
		// No other process declares meanwhile what the store is.
		b.Queue(s.epochLock(scan.c.AskFirst), s.lockNumber(lockEpoch))
		// For share: no process fences it before this is through.
		b.Queue(s.sql(`select fenced_at is null and closed_at is null from @owners where id = $1 for share`), s.owner.id).QueryRow(func(row pgx.Row) error { return row.Scan(&free) })
		b.Queue(s.sql(`select id, cursor, hold from @batches where number = $1 for no key update`), int64(scan.header.Number)).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				there = true
				if err := rows.Scan(&id, &scan.cursor, &hold); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		s.readMeta(b, &m)
		s.readIdentity(b, &is)
		b.Queue(s.sql(`select exists (select 1 from @families)`)).QueryRow(func(row pgx.Row) error { return row.Scan(&scan.families) })
		b.Queue(`select current_setting('synchronous_standby_names'), current_setting('fsync'), current_setting('full_page_writes'), clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&standby, &fsync, &pages, &database) })
	}, func(ctx context.Context, t *tx) error {
		if !free {
			s.owner.heard(false, begun) // that it is free, only a beat may tell
		}
		switch {
		case !free:
			return s.owner.error("others have taken it for dead")
		case !there || hex.EncodeToString(id) != scan.header.ID:
			s.forgetHeaders() // the database went back, and the number is another batch's
			return fmt.Errorf("batch %s: %w", scan.header.Short(), store.ErrNoBatch)
		case s.o.Synchronous && standby == "":
			return errStandby
		case fsync != "on":
			return unsafe("fsync") // it was turned off meanwhile
		case pages != "on":
			return unsafe("full_page_writes")
		}
		if err := s.apart(now, database); err != nil {
			return err
		}
		if hold != nil {
			held := &store.HeldError{}
			if err := json.Unmarshal(hold, &held.Hold); err != nil {
				return fmt.Errorf("%w: the hold of batch %s", store.ErrDamaged, scan.header.Short())
			}
			if held.Bars(scan.c) {
				return held
			}
		}
		before := m
		epoch, copied, newEpoch, err := s.refuseCopies(&m, is, seen, scan.c.AskFirst)
		if err != nil {
			return err
		}
		if begunEpoch = newEpoch; newEpoch {
			t.tick.Boot = newBoot() // what is suspected now is measured by the new clock
		}
		scan.w = t.writer(ctx)
		scan.w.meta, scan.w.is, scan.w.seen = &before, is, seen
		scan.epoch, scan.copied, scan.now = epoch, copied, s.o.now()
		scan.out, scan.numbers, scan.gone, scan.blocked, scan.wrote, scan.read = nil, nil, nil, nil, false, 0
		if more, err = scan.run(ctx); err != nil {
			return err
		}
		b := &pgx.Batch{}
		if err := scan.flush(b, n); err != nil {
			return err
		}
		if !scan.wrote && !newEpoch {
			return t.commit(ctx, b)
		}
		if scan.wrote {
			m.generation++
			m.claimed = scan.now
		}
		s.raise(b, &m, is, newEpoch, t.tick.Boot) // last, because all claims of all batches meet there
		return t.commit(ctx, b)
	})
	var unsure *unsureError
	if errors.As(err, &unsure) {
		s.owner.unsureOf(n)
	}
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	s.asking = s.asking || scan.c.AskFirst
	s.mu.Unlock()
	if m.generation == 0 {
		return more, nil
	}
	if begunEpoch {
		err = s.declared(m.generation, is)
	} else {
		err = s.saw(m.generation, is, seenBefore)
	}
	if err != nil {
		failed := s.release(ctx, scan.numbers)
		if failed != nil {
			s.owner.unsureOf(n)
		}
		return false, errors.Join(err, failed)
	}
	return more, nil
}

// raise raises the generation, and writes down which database it is in.
func (s *Store) raise(b *pgx.Batch, m *meta, is identity, newEpoch bool, boot uint64) {
	statement := `update @meta set generation = generation + 1, claimed_at = $1, system = $2, timeline = $3, database = $4 returning generation`
	args := []any{instant(m.claimed), is.system, is.timeline, is.database}
	if newEpoch {
		statement = `update @meta set generation = greatest(generation + 1, $5), claimed_at = $1, system = $2, timeline = $3, database = $4, epoch = $6, copied_at = $7 returning generation`
		args = append(args, m.generation, m.epoch, instant(m.copied))
	}
	b.Queue(s.sql(statement), args...).QueryRow(func(row pgx.Row) error { return row.Scan(&m.generation) })
	if newEpoch {
		s.newClock(b, boot)
	}
}

// release gives claims back of which nothing was sent.
func (s *Store) release(ctx context.Context, numbers []int64) error {
	if len(numbers) == 0 {
		return nil
	}
	return s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		w := t.writer(ctx)
		rows, err := t.c.Query(ctx, s.sql(`select `+payoutColumns+` from @payouts p where p.number = any($1) order by p.number for no key update`), numbers)
		if err != nil {
			return err
		}
		if err := w.read(rows); err != nil {
			return err
		}
		b := &pgx.Batch{}
		for _, r := range w.records {
			if int64(r.Owner) != s.owner.id {
				continue
			}
			e := payout.Event{Key: r.Key, Kind: payout.Released, Source: payout.FromRun, At: s.o.now(), Tick: t.tick, Attempt: r.Attempt}
			if _, err := w.apply(r, &e); err != nil {
				return err
			}
		}
		if err := w.flush(b); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
}

// settleUnsure gives back what claims took whose commit was unsure: nothing of them was
// sent. A claim that never came through has no row, and never will have: its connection
// is gone, or has rolled it back.
func (s *Store) settleUnsure(ctx context.Context) error {
	for {
		n, there := s.owner.firstUnsure()
		if !there {
			return nil
		}
		var numbers []int64
		err := s.write(ctx, nil, func(ctx context.Context, t *tx) error {
			// A commit that is still under way holds its row of owners.
			if _, err := t.c.Exec(ctx, s.sql(`select 1 from @owners where id = $1 for update`), s.owner.id); err != nil {
				return err
			}
			err := t.c.QueryRow(ctx, s.sql(`select payouts from @claims where owner = $1 and n = $2`), s.owner.id, n).Scan(&numbers)
			if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
			return errors.Join(err, t.commit(ctx, nil))
		})
		if err == nil {
			err = s.release(ctx, numbers)
		}
		if err != nil {
			return err
		}
		s.owner.settled(n)
	}
}

func (w *owner) nextClaim() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims++
	return w.claims
}

func (w *owner) unsureOf(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unsure = append(w.unsure, n)
}

func (w *owner) firstUnsure() (n int64, there bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.unsure) == 0 {
		return 0, false
	}
	return w.unsure[0], true
}

func (w *owner) settled(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unsure = slices.DeleteFunc(w.unsure, func(m int64) bool { return m == n })
}
