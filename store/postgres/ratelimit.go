package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
	"masspay/store/clock"
	"masspay/store/rate"
)

// Limiter spaces the requests of all processes of this store; see store.Store.
func (s *Store) Limiter(perSecond float64, burst int) (store.Limiter, error) {
	if err := rate.Check(perSecond, burst); err != nil {
		return nil, err
	}
	return &limiter{Limiter: rate.NewLeasing(&ledger{s: s, lead: leastLead}, perSecond, burst, leased)}, nil
}

// limiter waits for a database that is away, as for a slot.
type limiter struct{ *rate.Limiter }

// tryAgain is how often a limiter asks a database that is away.
const tryAgain = 250 * time.Millisecond

// Wait takes the next slot; see store.Limiter. A database that is away for longer than the
// caller's patience is a pause.
func (l *limiter) Wait(ctx context.Context, patience time.Duration) error {
	begun := time.Now()
	for {
		err := l.Limiter.Wait(ctx, patience-time.Since(begun))
		if !errors.Is(err, store.ErrBusy) {
			return err
		}
		if time.Since(begun) >= patience {
			return &rate.PausedError{Until: time.Now().Add(tryAgain)}
		}
		t := time.NewTimer(tryAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// ledger keeps the slots in the database, by the server's clock. A step of that costs one
// slot forward, or one wait, which is bounded, backward.
type ledger struct {
	s    *Store
	lead time.Duration // how long a change takes, of late: slots begin behind it

	shift   time.Duration // from the server's clock to this machine's
	shifted time.Duration // when it was measured, on this machine's; 0: never
}

// A look at the server's clock comes late by what the answer takes, never early; so the
// least of many looks is the best, while clocks drift apart by no more than drift. One that
// was set begins again.
const (
	drift       = 10_000 // one part in so many
	clockWasSet = time.Second
)

// seen takes in that the server's clock showed so much at a moment of this machine's, and
// returns the best that is known of the shift between them.
func (l *ledger) seen(server, mine time.Duration) time.Duration {
	now := mine - server
	best := l.shift + (mine-l.shifted)/drift
	if l.shifted == 0 || now < best || now-best > clockWasSet {
		best = now
	}
	l.shift, l.shifted = best, mine
	return best
}

// leased is the time whose slots one process takes at once: twenty changes of one row a
// second are no load, three hundred are, and each version of it is kept while a long
// snapshot lives.
const leased = 50 * time.Millisecond

// The lead follows what changes take.
const (
	leastLead = time.Millisecond
	mostLead  = 100 * time.Millisecond
)

// took adjusts the lead.
func (l *ledger) took(d time.Duration) {
	l.lead = min(max(d+d/4, l.lead-l.lead/16, leastLead), mostLead)
}

// Close has nothing to close.
func (l *ledger) Close() error { return nil }

// Change reads, changes and writes the slots under their row's lock; see rate.Ledger. A
// process that is fenced gets none.
func (l *ledger) Change(fn func(s rate.Slots, now time.Duration) (rate.Slots, error)) error {
	s := l.s
	ctx, cancel := s.patience(context.Background())
	defer cancel()
	s.owner.mu.Lock()
	known := s.owner.known
	s.owner.mu.Unlock()
	begun := sinceBoot()
	free := true
	var next, pause, now int64
	there := false
	read := func(b *pgx.Batch) {
		b.Queue(`select set_config('synchronous_commit', 'off', true)`) // a crash may forget it
		if known {
			b.Queue(s.sql(`select fenced_at is null and closed_at is null from @owners where id = $1`), s.owner.id).QueryRow(func(row pgx.Row) error { return row.Scan(&free) })
		}
		b.Queue(s.sql(`select next, pause from @rate for update`)).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				there = true
				if err := rows.Scan(&next, &pause); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		// After the lock: what others wait for it is not counted.
		b.Queue(`select (extract(epoch from clock_timestamp()) * 1e9)::bigint`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
	}
	var began time.Duration
	err := s.transact(ctx, min(lockTimeout, s.o.wait()), read, func(ctx context.Context, t *tx) error {
		if !free {
			s.owner.heard(false, begun)
			return fmt.Errorf("%w: others have taken it for dead", store.ErrFenced)
		}
		// Moments as the limiter knows them, on this machine's clock.
		mine := clock.Tick().At
		began = mine
		shift := l.seen(time.Duration(now), mine)
		mine += l.lead // slots that would have gone by when this is committed are none
		was := rate.Forgotten(mine)
		if there {
			was = rate.Slots{Next: time.Duration(next) + shift, Pause: time.Duration(pause) + shift}
		}
		is, err := fn(was, mine)
		if err != nil {
			return err
		}
		if there && is == was {
			return t.commit(ctx, nil)
		}
		b := &pgx.Batch{}
		b.Queue(s.sql(`insert into @rate (next, pause) values ($1, $2) on conflict (one) do update set next = excluded.next, pause = excluded.pause`),
			int64(is.Next-shift), int64(is.Pause-shift))
		return t.commit(ctx, b)
	})
	if err == nil {
		l.took(clock.Tick().At - began)
	}
	var paused *rate.PausedError
	if errors.As(err, &paused) {
		return err
	}
	return s.plain(ctx, err)
}

// PausedUntil is until when nothing is sent; see store.Store.
func (s *Store) PausedUntil(ctx context.Context) (until time.Time, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		var pause, now int64
		err := c.QueryRow(ctx, s.sql(`select pause, (extract(epoch from clock_timestamp()) * 1e9)::bigint from @rate`)).Scan(&pause, &now)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // nobody has sent yet
		}
		until = rate.Slots{Pause: time.Duration(pause)}.PausedUntil(time.Duration(now))
		return err
	})
	return until, err
}
