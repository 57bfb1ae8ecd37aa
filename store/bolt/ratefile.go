package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"

	"masspay/store"
	"masspay/store/clock"
	"masspay/store/rate"
)

// rateFile is a ledger of slots in a small file beside the store, under a lock.
type rateFile struct {
	lock *flock.Flock
	file *os.File
}

// Limiter opens the limiter of this store; see store.Store.
func (s *Store) Limiter(perSecond float64, burst int) (store.Limiter, error) {
	if err := rate.Check(perSecond, burst); err != nil {
		return nil, err
	}
	f, err := openRateFile(s.o.Path)
	if err != nil {
		return nil, err
	}
	return rate.New(f, perSecond, burst), nil
}

func openRateFile(storePath string) (*rateFile, error) {
	path := RealPath(storePath) + ".rate"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the configured path
	if err != nil {
		return nil, err
	}
	adopt(path, RealPath(storePath))
	return &rateFile{lock: flock.New(path, flock.SetPermissions(0o600)), file: f}, nil
}

// Close closes the file.
func (r *rateFile) Close() error { return r.file.Close() }

// Change reads, changes and writes the file under its lock; see rate.Ledger. What was
// written before the machine was restarted does not count.
func (r *rateFile) Change(fn func(s rate.Slots, now time.Duration) (rate.Slots, error)) (err error) {
	if err := r.lock.Lock(); err != nil {
		return fmt.Errorf("rate file %s: %w", r.lock.Path(), err)
	}
	defer func() { err = errors.Join(err, r.lock.Unlock()) }()
	var b [24]byte
	if _, err := r.file.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("rate file: %w", err)
	}
	now := clock.Tick()
	was := rate.Forgotten(now.At)
	if binary.BigEndian.Uint64(b[:]) == now.Boot {
		was = rate.Slots{Next: nanoseconds(b[8:]), Pause: nanoseconds(b[16:])}
	}
	is, err := fn(was, now.At)
	if err != nil || is == was {
		return err
	}
	binary.BigEndian.PutUint64(b[:], now.Boot)
	binary.BigEndian.PutUint64(b[8:], uint64(is.Next))
	binary.BigEndian.PutUint64(b[16:], uint64(is.Pause))
	if _, err := r.file.WriteAt(b[:], 0); err != nil {
		return fmt.Errorf("rate file: %w", err)
	}
	return nil
}

func nanoseconds(b []byte) time.Duration { return time.Duration(binary.BigEndian.Uint64(b)) }

// PausedUntil is until when nothing is sent; see store.Store.
func (s *Store) PausedUntil(context.Context) (time.Time, error) {
	b, err := os.ReadFile(s.o.Path + ".rate")
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) < 24 {
		return time.Time{}, nil // nobody has sent yet
	}
	now := clock.Tick()
	if err != nil || binary.BigEndian.Uint64(b) != now.Boot {
		return time.Time{}, err
	}
	return rate.Slots{Pause: nanoseconds(b[16:])}.PausedUntil(now.At), nil
}
