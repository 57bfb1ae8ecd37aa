package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"masspay/store"
	"masspay/store/clock"
)

// Limiter is the gate client's limiter for all processes on a store: a small locked file
// beside it holds the next free slot and the time until which all pause. Slots
// follow the generic cell rate algorithm: rate per second, burst at once. A
// request that comes later than late after its slot takes another, and slots lie
// so far apart that no second has more than rate + burst requests even if some
// are on time and others late. Fast processes lease slots by the handful.
type Limiter struct {
	interval time.Duration
	burst    int
	handful  int // slots of one lease

	mu     sync.Mutex // flock does not keep goroutines of one process apart
	lock   *flock.Flock
	file   *os.File
	leased lease

	sleep func(ctx context.Context, d time.Duration) error // may take longer, when the process is stopped
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

// Nobody asks for a slot or a pause further away than these: what says so is
// damaged, and counts no more.
const (
	maxAhead = 10 * time.Minute
	maxPause = time.Hour
)

// Limiter opens the limiter of this store; see store.Store.
func (s *Store) Limiter(rate float64, burst int) (store.Limiter, error) {
	return OpenLimiter(s.o.Path, rate, burst)
}

// OpenLimiter opens the limiter of the store at a path. Processes may have
// different rates; each slot is as long as its taker's rate makes it.
func OpenLimiter(storePath string, rate float64, burst int) (*Limiter, error) {
	if rate <= 0 || burst < 1 {
		return nil, fmt.Errorf("rate %v and burst %d must be more than zero", rate, burst)
	}
	path := RealPath(storePath) + ".rate"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the configured path
	if err != nil {
		return nil, err
	}
	adopt(path, RealPath(storePath))
	return &Limiter{
		// Requests that are late by so much can make a second as full as one that is
		// longer by so much.
		interval: time.Duration(math.Ceil(max(float64(time.Second)/rate, float64(time.Second+late+travel)/(rate+1)))), burst: burst,
		handful: max(1, int(rate*late.Seconds())),
		lock:    flock.New(path, flock.SetPermissions(0o600)), file: f, sleep: sleep,
	}, nil
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

// Close closes the file.
func (l *Limiter) Close() error { return l.file.Close() }

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
		if wait <= late {
			return nil
		}
		// Somebody may have been told to pause while this slot was coming.
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
	for l.leased.left > 0 && now-max(l.leased.next, l.leased.taken) > late {
		l.leased.next += l.interval
		l.leased.left--
	}
	if l.leased.left == 0 {
		err := l.change(func(s slots, now time.Duration) (slots, error) {
			first := s.slot(now, l.interval, l.burst)
			if wait := first - now; wait > patience {
				return s, &PausedError{Until: time.Now().Add(wait)}
			}
			l.leased = lease{next: first, left: l.handful, taken: now}
			s.next = first + time.Duration(l.handful)*l.interval
			return s, nil
		})
		if err != nil {
			l.leased.left = 0 // what is not in the file is not ours
			return 0, err
		}
		now = l.leased.taken
	}
	if wait = l.leased.next - now; wait > patience {
		return 0, &PausedError{Until: time.Now().Add(wait)}
	}
	l.leased.next += l.interval
	l.leased.left--
	return wait, nil
}

// paused is how long all pause from now.
func (l *Limiter) paused() (pause time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.change(func(s slots, now time.Duration) (slots, error) {
		if pause = s.pause - now; pause > maxPause {
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
	return l.change(func(s slots, now time.Duration) (slots, error) {
		if s.pause-now > maxPause || now+left > s.pause {
			s.pause = now + left
		}
		return s, nil
	})
}

// slots is what the file holds, on the clock that nobody can set: a wall clock
// that is set back would stop everybody, one that is set forward let them go.
type slots struct {
	next  time.Duration // the first slot that nobody has taken
	pause time.Duration // nothing may leave before
}

// slot is the next one that may be taken, never before now.
func (s slots) slot(now, interval time.Duration, burst int) time.Duration {
	next, pause := s.next, s.pause
	if next-now > maxAhead {
		next = now
	}
	if pause-now > maxPause {
		pause = now
	}
	// Up to burst-1 slots of the past may be used up at once.
	return max(next, now-time.Duration(burst-1)*interval, pause)
}

// change reads, changes and writes the file under its lock; l.mu is held. What was written
// before the machine was started anew does not count.
func (l *Limiter) change(fn func(s slots, now time.Duration) (slots, error)) (err error) {
	if err := l.lock.Lock(); err != nil {
		return fmt.Errorf("rate file %s: %w", l.lock.Path(), err)
	}
	defer func() { err = errors.Join(err, l.lock.Unlock()) }()
	var b [24]byte
	if _, err := l.file.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("rate file: %w", err)
	}
	now := clock.Tick()
	was := slots{next: now.At - maxAhead, pause: now.At}
	if binary.BigEndian.Uint64(b[:]) == now.Boot {
		was = slots{next: nanoseconds(b[8:]), pause: nanoseconds(b[16:])}
	}
	is, err := fn(was, now.At)
	if err != nil || is == was {
		return err
	}
	binary.BigEndian.PutUint64(b[:], now.Boot)
	binary.BigEndian.PutUint64(b[8:], uint64(is.next))
	binary.BigEndian.PutUint64(b[16:], uint64(is.pause))
	if _, err := l.file.WriteAt(b[:], 0); err != nil {
		return fmt.Errorf("rate file: %w", err)
	}
	return nil
}

func nanoseconds(b []byte) time.Duration { return time.Duration(binary.BigEndian.Uint64(b)) }
