package result

import (
	"io"
	"os"
	"sync"
)

// follower is a file that is read back while it is written: what Read returns was
// read from the file, never from what was written.
type follower struct {
	f *os.File

	mu      sync.Mutex
	more    sync.Cond
	written int64
	read    int64
	done    bool
}

func newFollower(f *os.File) *follower {
	w := &follower{f: f}
	w.more.L = &w.mu
	return w
}

// Write appends to the file.
func (w *follower) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written += int64(n)
	w.more.Signal()
	return n, err
}

// finish says that nothing more will be written; with an error, what was written
// is not worth reading.
func (w *follower) finish(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done = true; err != nil {
		w.written = w.read
	}
	w.more.Signal()
}

// Read reads on from the file's beginning, and waits for what is yet to be
// written. Behind what was written there must be nothing.
func (w *follower) Read(p []byte) (int, error) {
	w.mu.Lock()
	for w.read >= w.written && !w.done {
		w.more.Wait()
	}
	left := w.written - w.read
	w.mu.Unlock()
	if left <= 0 {
		return w.f.ReadAt(p[:min(len(p), 1)], w.read)
	}
	n, err := w.f.ReadAt(p[:min(int64(len(p)), left)], w.read)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

var _ io.ReadWriter = (*follower)(nil)
