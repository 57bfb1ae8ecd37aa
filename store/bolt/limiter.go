package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"masspay/store/clock"
)

// Limiter is the gate client's limiter for all processes on a store: a small locked file
// beside it holds the next free slot and the time until which all pause. Slots
// follow the generic cell rate algorithm: rate per second, burst at once.
type Limiter struct {
	interval time.Duration
	burst    int

	mu   sync.Mutex // flock does not keep goroutines of one process apart
	lock *flock.Flock
	file *os.File
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
	return &Limiter{
		interval: time.Duration(float64(time.Second) / rate), burst: burst,
		lock: flock.New(path, flock.SetPermissions(0o600)), file: f,
	}, nil
}

// Close closes the file.
func (l *Limiter) Close() error { return l.file.Close() }

// Wait takes the next slot and sleeps until it comes, at most patience;
// further away it returns a *PausedError at once and takes nothing.
func (l *Limiter) Wait(ctx context.Context, patience time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var wait time.Duration
	err := l.change(func(s slots, now time.Duration) (slots, error) {
		slot := s.slot(now, l.interval, l.burst)
		if wait = slot - now; wait > patience {
			return s, &PausedError{Until: time.Now().Add(wait)}
		}
		s.next = slot + l.interval
		return s, nil
	})
	if err != nil || wait <= 0 {
		return err
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	// Somebody may have been told to pause while this slot was coming.
	var pause time.Duration
	err = l.change(func(s slots, now time.Duration) (slots, error) {
		if pause = s.pause - now; pause > maxPause {
			pause = 0
		}
		return s, nil
	})
	if err != nil || pause <= 0 {
		return err
	}
	left := patience - wait
	if pause > left {
		return &PausedError{Until: time.Now().Add(pause)}
	}
	return l.Wait(ctx, left)
}

// Pause keeps every process from sending until a time; an
// earlier one than is already set changes nothing.
func (l *Limiter) Pause(_ context.Context, until time.Time) error {
	left := time.Until(until)
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

// change reads, changes and writes the file under its lock. What was written
// before the machine was started anew does not count.
func (l *Limiter) change(fn func(s slots, now time.Duration) (slots, error)) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
