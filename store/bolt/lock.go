package bolt

import (
	"context"
	"errors"
	"fmt"
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
type turn struct {
	path   string
	wait   time.Duration
	held   *flock.Flock
	inside chan struct{} // one goroutine of this process at a time
}

func newTurn(o Options) *turn {
	t := &turn{path: o.Path, wait: o.Wait, inside: make(chan struct{}, 1)}
	if t.wait <= 0 {
		t.wait = busyAfter
	}
	return t
}

// take waits for the turn, at most as long as it is told to; then it returns store.ErrBusy.
func (t *turn) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.wait, store.ErrBusy)
	defer cancel()
	select {
	case t.inside <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	queue, err := lock(ctx, t.path+".queue")
	if err == nil {
		t.held, err = lock(ctx, t.path+".turn")
		err = errors.Join(err, queue.Unlock())
	}
	if err != nil {
		<-t.inside
	}
	return err
}

func (t *turn) release() error {
	err := t.held.Unlock()
	t.held = nil
	<-t.inside
	return err
}

// lock takes a file lock or returns the context's cause. The kernel's queue is
// fair, so the waiting is done there, in a goroutine of its own; when nobody
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
