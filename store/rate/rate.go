// Package rate keeps one rate for all processes of a store: each takes slots from a
// ledger that they share, a few at a time, and sleeps until they come.
package rate

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"masspay/store/clock"
)

// Limiter lets requests go. Slots follow the generic cell rate algorithm: rate per second,
// burst at once. A request that comes later than late after its slot takes another, and
// slots lie so far apart that no second has more than rate + burst requests even if some
// are on time and others late. Fast processes lease slots by the handful. It is safe for
// concurrent use.
type Limiter struct {
	interval time.Duration
	burst    int
	handful  int           // slots of one lease
	soon     time.Duration // a slot that comes sooner is taken without another look for a pause

	mu     sync.Mutex
	ledger Ledger
	leased lease

	sleep func(ctx context.Context, d time.Duration) error // may take longer, when the process is stopped
}

// Ledger is what all processes of a store share of its rate.
type Ledger interface {
	// Change reads the slots, has fn change them, and keeps what it returns, alone of all
	// processes. now is the present; moments are this machine's clock's (clock.Tick).
	// With an error of fn nothing is kept.
	Change(fn func(s Slots, now time.Duration) (Slots, error)) error
	Close() error
}

// late is how long a slot is good for, and travel how much later than others a
// request may reach the gate that left on time.
const (
	late   = 4 * time.Millisecond
	travel = 4 * time.Millisecond
)

// lease is a run of slots that this process has taken and not yet used.
type lease struct {
	next  time.Duration // the first
	left  int
	taken time.Duration // when; slots may lie before it, as many as burst allows
}

// PausedError says that the next request may not leave before Until.
type PausedError struct{ Until time.Time }

func (e *PausedError) Error() string {
	return "requests are paused until " + e.Until.UTC().Format(time.RFC3339)
}

// PausedUntil is the time that a gate client looks for.
func (e *PausedError) PausedUntil() time.Time { return e.Until }

// No caller asks for a slot or a pause further away than these: what says so is
// damaged, and counts no more.
const (
	maxAhead = 10 * time.Minute
	maxPause = time.Hour
)

// New makes a limiter. Processes may have different rates; each slot is as long as its
// taker's rate makes it.
func New(ledger Ledger, rate float64, burst int) *Limiter {
	return NewLeasing(ledger, rate, burst, late)
}

// NewLeasing makes a limiter that takes the slots of so long a time at once, at least one,
// because its ledger is far away. What it does not use of them is lost to all.
func NewLeasing(ledger Ledger, rate float64, burst int, lease time.Duration) *Limiter {
	return &Limiter{
		// Requests that are late by so much can make a second as full as one that is
		// longer by so much.
		interval: time.Duration(math.Ceil(max(float64(time.Second)/rate, float64(time.Second+late+travel)/(rate+1)))), burst: burst,
		handful: max(1, int(rate*lease.Seconds())), soon: max(late, lease),
		ledger: ledger, sleep: sleep,
	}
}

// Check says what is wrong with a rate.
func Check(rate float64, burst int) error {
	if rate <= 0 || burst < 1 {
		return fmt.Errorf("rate %v and burst %d must be more than zero", rate, burst)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes the ledger.
func (l *Limiter) Close() error { return l.ledger.Close() }

// Wait takes the next slot and sleeps until it comes, at most patience;
// further away it returns a *PausedError at once and takes nothing.
func (l *Limiter) Wait(ctx context.Context, patience time.Duration) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		wait, err := l.take(patience)
		if err != nil || wait <= 0 {
			return err
		}
		begun := clock.Tick()
		if err := l.sleep(ctx, wait); err != nil {
			return err
		}
		slept, _ := clock.Tick().Since(begun)
		patience -= slept
		if slept-wait > late {
			// The slot has gone by; and where the process was stopped, so has the time
			// that the caller has.
			if patience <= 0 {
				return &PausedError{Until: time.Now()}
			}
			continue
		}
		patience = max(patience, 0)
		if wait <= l.soon {
			return nil
		}
		// A pause may have been set while this slot was coming.
		pause, err := l.paused()
		if err != nil || pause <= 0 {
			return err
		}
		if pause > patience {
			return &PausedError{Until: time.Now().Add(pause)}
		}
	}
}

// take takes the next slot and returns how far away it is.
func (l *Limiter) take(patience time.Duration) (wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := clock.Tick().At
	l.drop(now)
	for tries := 0; l.leased.left == 0; tries++ {
		if tries == mostTries {
			return 0, &PausedError{Until: time.Now().Add(late)} // the ledger is slower than its slots
		}
		err := l.ledger.Change(func(s Slots, now time.Duration) (Slots, error) {
			first := s.slot(now, l.interval, l.burst)
			if wait := first - now; wait > patience {
				return s, &PausedError{Until: time.Now().Add(wait)}
			}
			l.leased = lease{next: first, left: l.handful, taken: now}
			s.Next = first + time.Duration(l.handful)*l.interval
			return s, nil
		})
		if err != nil {
			l.leased.left = 0 // what is not in the ledger is not ours
			return 0, err
		}
		// The ledger took its time, too: a slot that has gone by meanwhile is not used.
		now = clock.Tick().At
		l.drop(now)
	}
	if wait = l.leased.next - now; wait > patience {
		return 0, &PausedError{Until: time.Now().Add(wait)}
	}
	l.leased.next += l.interval
	l.leased.left--
	return wait, nil
}

// mostTries is how often a slot is taken that has gone by when the ledger has kept it.
const mostTries = 20

// drop lets go of slots that have gone by.
func (l *Limiter) drop(now time.Duration) {
	for l.leased.left > 0 && now-max(l.leased.next, l.leased.taken) > late {
		l.leased.next += l.interval
		l.leased.left--
	}
}

// paused is how long all pause from now.
func (l *Limiter) paused() (pause time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.ledger.Change(func(s Slots, now time.Duration) (Slots, error) {
		if pause = s.Pause - now; pause > maxPause {
			pause = 0
		}
		return s, nil
	})
	return pause, err
}

// Pause keeps every process from sending until a time; an
// earlier one than is already set changes nothing.
func (l *Limiter) Pause(_ context.Context, until time.Time) error {
	left := time.Until(until)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leased.left = 0
	return l.ledger.Change(func(s Slots, now time.Duration) (Slots, error) {
		if s.Pause-now > maxPause || now+left > s.Pause {
			s.Pause = now + left
		}
		return s, nil
	})
}

// Slots are what a ledger holds, on the clock that cannot be set: a wall clock
// that is set back would stop everybody, one that is set forward let them go.
type Slots struct {
	Next  time.Duration // the first slot that no one has taken
	Pause time.Duration // nothing may leave before
}

// PausedUntil is the end of a pause, on the wall clock; zero: there is none.
func (s Slots) PausedUntil(now time.Duration) time.Time {
	left := s.Pause - now
	if left <= 0 || left > maxPause {
		return time.Time{}
	}
	return time.Now().Add(left).Round(time.Second)
}

// slot is the next one that may be taken, never before now.
func (s Slots) slot(now, interval time.Duration, burst int) time.Duration {
	next, pause := s.Next, s.Pause
	if next-now > maxAhead {
		next = now
	}
	if pause-now > maxPause {
		pause = now
	}
	// Up to burst-1 slots of the past may be used up at once.
	return max(next, now-time.Duration(burst-1)*interval, pause)
}

// Forgotten are the slots of a ledger that knows of none: all are free.
func Forgotten(now time.Duration) Slots { return Slots{Next: now - maxAhead, Pause: now} }
