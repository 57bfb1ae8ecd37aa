package bolt

import (
	"os"
	"strconv"
	"sync"

	"masspay/store"
)

// A run that is begun holds a lock on one byte of a file beside the store, that of its
// number, until its end is recorded or its process is gone: so people are told which of
// the two it is. No payout depends on that; see owner.go for what does.

// runLocks are the open files that hold the locks of this process's runs. The store that
// began a run is often closed before another records its end.
var runLocks struct {
	sync.Mutex
	held map[string]*os.File // by path and number
}

func (s *Store) runsPath() string { return s.o.Path + ".runs" }

func (s *Store) runLock(number uint64) string {
	return s.runsPath() + " " + strconv.FormatUint(number, 10)
}

// holdRun takes the lock of a run, for as long as this process lives.
func (s *Store) holdRun(number uint64) error {
	f, err := os.OpenFile(s.runsPath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	adopt(s.runsPath(), s.o.Path)
	if err := lockByte(f, int64(number)); err != nil {
		_ = f.Close()
		return err
	}
	runLocks.Lock()
	defer runLocks.Unlock()
	if runLocks.held == nil {
		runLocks.held = map[string]*os.File{}
	}
	runLocks.held[s.runLock(number)] = f
	return nil
}

// letRunGo gives the lock of a run back.
func (s *Store) letRunGo(number uint64) error {
	runLocks.Lock()
	defer runLocks.Unlock()
	key := s.runLock(number)
	f := runLocks.held[key]
	if f == nil {
		return nil // it was never held, or another process's
	}
	delete(runLocks.held, key)
	return f.Close()
}

// lifeOf looks at the lock of a run, without taking it.
func (s *Store) lifeOf(number uint64) store.Life {
	f, err := os.Open(s.runsPath())
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	held, err := byteLocked(f, int64(number))
	switch {
	case err != nil:
		return ""
	case held:
		return store.LifeGoesOn
	}
	return store.LifeGone
}
