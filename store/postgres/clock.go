package postgres

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"masspay/payout"
	"masspay/store"
)

// Machines have no clock in common that cannot be set, and ticks of different machines
// cannot be compared. So the store has a clock of its own: a row that one process, its
// keeper, adds the time to that has gone by on its own monotonic clock. A keeper that ends
// says so; whoever has seen that, or seen it stand still for a while, takes over and adds
// nothing. Additions never overlap, so that
// the clock never runs faster than real time; with no process there it stops, and a
// quiet period only takes longer.
const (
	// takeOver is how long the clock must stand still before another process keeps it.
	takeOver = 5 * time.Second
	// largestStep bounds what one addition adds: between two additions the clock lags by
	// so much at the most, and what is measured is wrong by no more.
	largestStep = 5 * time.Second
	// knownFor is for how long a moment that was read is given out.
	knownFor = 10 * time.Second
)

// storeClock is the store's clock as this process knows it.
type storeClock struct {
	mu   sync.Mutex
	tick payout.Tick
	back bool          // it has gone back, and was not given another name yet
	read time.Duration // when, on this machine's clock

	keeping      bool
	version      int64 // that this process has seen
	versionKnown bool
	free         bool          // no process keeps it, as of the last look
	moved        time.Duration // when it last saw it change; as keeper, up to when it has added
}

// wentBackBy is how far the clock may seem to go back: reads overtake each other. What went
// back further is an older copy of itself, and its moments cannot be compared.
const wentBackBy = 15 * time.Second

// saw notes what the row says, and returns it.
func (c *storeClock) saw(boot, at int64) payout.Tick {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := payout.Tick{Boot: uint64(boot), At: time.Duration(at)}
	switch {
	case t.Boot != c.tick.Boot:
		c.tick, c.back = t, false
	case c.tick.At-t.At > wentBackBy:
		c.back = true
	case t.At > c.tick.At:
		c.tick = t
	}
	c.read = sinceBoot()
	return t
}

// newClock gives the clock another name: moments of before, which another copy of the store
// may have given out too, cannot be compared with those to come.
func (s *Store) newClock(b *pgx.Batch, boot uint64) {
	b.Queue(s.sql(`update @clock set boot = $1`), int64(boot))
}

func newBoot() uint64 { return rand.Uint64()>>1 | 1 } //nolint:gosec // a name, not a secret

// Tick is the moment that was last read of the store's clock; see store.Store. It is not
// known when that was long ago.
func (s *Store) Tick() payout.Tick {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	if s.clock.back || sinceBoot()-s.clock.read > knownFor {
		return payout.Tick{}
	}
	return s.clock.tick
}

// selectClock reads the clock, and whether its keeper has ended, or was taken for dead.
const selectClock = `select c.boot, c.at, c.version, c.keeper = 0 or exists (select 1 from @owners o where o.id = c.keeper and (o.fenced_at is not null or o.closed_at is not null)) from @clock c`

// keep adds to a batch what keeps the clock going; now is the present on this process's
// monotonic clock.
func (s *Store) keep(b *pgx.Batch, me int64, now time.Duration) {
	c := &s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	statement, args := selectClock, []any(nil)
	taking := !c.keeping && c.versionKnown && (c.free || now-c.moved > takeOver)
	switch {
	case c.keeping:
		statement = `update @clock set at = at + $1, version = version + 1 where keeper = $2 and version = $3 returning boot, at, version, false`
		args = []any{int64(min(now-c.moved, largestStep)), me, c.version}
	case taking:
		statement = `update @clock set keeper = $1, version = version + 1 where version = $2 returning boot, at, version, false`
		args = []any{me, c.version}
	}
	mine := c.keeping || taking
	b.Queue(s.sql(statement), args...).Query(func(rows pgx.Rows) error {
		var boot, at, version int64
		there, free := false, false
		for rows.Next() {
			if err := rows.Scan(&boot, &at, &version, &free); err != nil {
				return err
			}
			there = true
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if there {
			s.clock.saw(boot, at)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.free = free
		switch {
		case mine && there:
			c.keeping, c.version, c.versionKnown, c.moved = true, version, true, now
		case mine: // another one keeps it
			c.keeping, c.versionKnown = false, false
		case !c.versionKnown || version != c.version:
			c.version, c.versionKnown, c.moved = version, true, now
		}
		return nil
	})
}

// mostApart is how far a machine's wall clock may be from the database's. What a report says
// about a payment is compared with when its row was loaded and sent, by the clocks of the
// machines that did it.
const mostApart = time.Minute

// apart refuses a wall clock that is not the database's: now is what this machine's clock
// showed before the database was asked for its own.
func (s *Store) apart(now, database time.Time) error {
	by := now.Sub(database)
	if late := s.o.now().Sub(database); by < 0 && late > by {
		by = min(late, 0) // the answer was on its way for a while
	}
	if by.Abs() <= mostApart {
		return nil
	}
	side := "ahead of"
	if by < 0 {
		side = "behind"
	}
	return &store.ConfigError{
		Why:  fmt.Sprintf("this machine's clock is %s %s the database's", by.Abs().Round(time.Second), side),
		Hint: "set both clocks right, with NTP for example",
	}
}
