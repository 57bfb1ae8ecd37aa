package bolt

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"masspay/store"
)

// busyAfter is how long a caller waits for its turn, unless Options say
// otherwise.
const busyAfter = 10 * time.Second

// turn lets one process at a time at the store's file, and fairly: who holds
// "queue" is next, who holds "turn" works. With one lock file alone, a busy
// process gets its own lock back before a waiting one wakes up.
//
// The turn's file carries the identity of the store that it belongs to, so that one
// store under two names with two sets of lock files is found out, and who holds it.
type turn struct {
	path   string
	wait   time.Duration
	waited func(time.Duration, bool)
	held   *flock.Flock
	file   *os.File      // the turn's file, once more: the lock gives no access to it
	inside chan struct{} // one goroutine of this process at a time
}

func newTurn(o Options) *turn {
	t := &turn{path: o.Path, wait: o.Wait, waited: o.Waited, inside: make(chan struct{}, 1)}
	if t.wait <= 0 {
		t.wait = busyAfter
	}
	return t
}

// take waits for the turn, at most as long as it is told to; then it returns a
// *BusyError, which is store.ErrBusy.
func (t *turn) take(ctx context.Context) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx) // also where the turn is free
	}
	begun := time.Now()
	if t.waited != nil {
		defer func() { t.waited(time.Since(begun), errors.Is(err, store.ErrBusy)) }()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.wait, store.ErrBusy)
	defer cancel()
	select {
	case t.inside <- struct{}{}:
	case <-ctx.Done():
		return t.busy(context.Cause(ctx), begun)
	}
	queue, err := lock(ctx, t.path+".queue")
	if err == nil {
		adopt(t.path+".queue", t.path)
		t.held, err = lock(ctx, t.path+".turn")
		adopt(t.path+".turn", t.path)
		err = errors.Join(err, queue.Unlock())
	}
	if err != nil {
		<-t.inside
		return t.busy(err, begun)
	}
	if err := t.open(); err != nil {
		return errors.Join(err, t.release())
	}
	t.sign()
	return nil
}

// open makes file the one that is locked. Where that was removed or replaced after it
// was locked, there is none, and the identity is none's.
func (t *turn) open() error {
	locked, err := t.held.Stat()
	if err != nil {
		return err
	}
	if t.file != nil {
		if st, err := t.file.Stat(); err == nil && os.SameFile(st, locked) {
			return nil
		}
		_ = t.file.Close()
		t.file = nil
	}
	f, err := os.OpenFile(t.path+".turn", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st, err := f.Stat(); err != nil || !os.SameFile(st, locked) {
		return errors.Join(err, f.Close())
	}
	t.file = f
	return nil
}

// wanted reports whether another process waits for the turn, which this one has.
func (t *turn) wanted() bool {
	queue := flock.New(t.path+".queue", flock.SetPermissions(0o600))
	free, err := queue.TryLock()
	if free {
		_ = queue.Unlock()
	}
	return !free && err == nil
}

// between runs do while this process does not have the turn, and keeps it from taking
// it meanwhile.
func (t *turn) between(do func()) {
	t.inside <- struct{}{}
	defer func() { <-t.inside }()
	do()
}

func (t *turn) release() error {
	err := t.held.Unlock()
	t.held = nil
	<-t.inside
	return err
}

func (t *turn) busy(err error, begun time.Time) error {
	if !errors.Is(err, store.ErrBusy) {
		return err
	}
	e := &store.BusyError{Path: t.path, Waited: time.Since(begun)}
	if b, err := os.ReadFile(t.path + ".turn"); err == nil && len(b) > identitySize {
		e.Holder = strings.TrimSpace(string(b[identitySize:]))
	}
	return e
}

// The turn's file is the identity in hex on the first line and who held it last on the
// second, padded.
const (
	identitySize = 2*16 + 1
	holderSize   = 120
)

var program = sync.OnceValue(func() string {
	name := filepath.Base(os.Args[0])
	if len(os.Args) > 1 && len(os.Args[1]) < 20 && !strings.HasPrefix(os.Args[1], "-") {
		name += " " + os.Args[1]
	}
	return clean(name)
})

// clean keeps a line a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

func holder(since time.Time) string {
	return fmt.Sprintf("process %d (%s), since %s", os.Getpid(), program(), since.UTC().Format(time.RFC3339))
}

// sign writes who holds the turn, for those who wait. Nothing depends on it.
func (t *turn) sign() {
	if t.file != nil {
		_, _ = t.file.WriteAt(fmt.Appendf(nil, "%-*.*s\n", holderSize-1, holderSize-1, holder(time.Now())), identitySize)
	}
}

// identity is that of the store that the turn's file belongs to; zero: it has none.
// The turn must be held.
func (t *turn) identity() (id [16]byte) {
	var b [identitySize]byte
	if t.file == nil {
		return id
	}
	if n, err := t.file.ReadAt(b[:], 0); n < identitySize && err != nil {
		return id
	}
	if _, err := hex.Decode(id[:], b[:32]); err != nil {
		return [16]byte{}
	}
	return id
}

// identify writes an identity into the turn's file, durably and in place: processes
// that have it open go on with it.
func (t *turn) identify(id [16]byte) error {
	if t.file == nil {
		return fmt.Errorf("%s.turn was replaced: %w", t.path, store.ErrLocks)
	}
	_, err := t.file.WriteAt([]byte(hex.EncodeToString(id[:])+"\n"), 0)
	return errors.Join(err, t.file.Sync())
}

// lock takes a file lock or returns the context's cause. The kernel's queue is
// fair, so the waiting is done there, in a goroutine of its own; when no one
// waits for that any more, it gives the lock back.
func lock(ctx context.Context, path string) (*flock.Flock, error) {
	l := flock.New(path, flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock file %s: %w", path, err)
	}
	if ok {
		return l, nil
	}
	got := make(chan error, 1)
	go func() { got <- l.Lock() }()
	select {
	case err := <-got:
		if err != nil {
			return nil, fmt.Errorf("lock file %s: %w", path, err)
		}
		return l, nil
	case <-ctx.Done():
		go func() {
			if <-got == nil {
				_ = l.Unlock()
			}
		}()
		return nil, context.Cause(ctx)
	}
}
