package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"masspay/store"
	"masspay/store/bolt/pages"
)

// Between runs do while this process is not at the store's file: a process that is
// suspended then does not block others. It blocks until a burst under way is through, some milliseconds
// mostly.
func (s *Store) Between(do func()) { s.turn.between(do) }

// together is a turn that a context has.
type together struct {
	s  *Store
	tx *bbolt.Tx
}

type togetherKey struct{}

// Together reads several things in one turn; see store.Reader.
func (s *Store) Together(ctx context.Context, do func(ctx context.Context) error) error {
	return s.view(ctx, func(tx *bbolt.Tx) error { return do(context.WithValue(ctx, togetherKey{}, together{s, tx})) })
}

// view runs a read burst.
func (s *Store) view(ctx context.Context, fn func(*bbolt.Tx) error) error {
	if t, has := ctx.Value(togetherKey{}).(together); has && t.s == s {
		return fn(t.tx)
	}
	return s.burst(ctx, func(db *bbolt.DB) error { return db.View(fn) })
}

// update runs a write burst: one durable commit, or nothing.
func (s *Store) update(ctx context.Context, fn func(*bbolt.Tx) error) error {
	s.inspectAhead()
	return s.burst(ctx, func(db *bbolt.DB) error { return s.write(db, fn) })
}

// write is one durable commit. A disk that fails it makes the store look like a
// restored copy.
func (s *Store) write(db *bbolt.DB, fn func(*bbolt.Tx) error) error {
	var torn bool
	err := s.writeUnder(db, func(tx *bbolt.Tx) error {
		m, err := readMeta(tx)
		if err != nil {
			return err
		}
		switch id := s.turn.identity(); {
		case id == m.locks:
			return fn(tx)
		case m.locksBefore != [16]byte{} && before(id) == m.locksBefore:
			torn = true
			return errTorn
		}
		return fmt.Errorf("%s: %w", s.o.Path, store.ErrLocks)
	})
	if !torn {
		return err
	}
	// New lock files were cut off between the store and the files.
	var m meta
	if err := db.View(func(tx *bbolt.Tx) (err error) { m, err = readMeta(tx); return err }); err != nil {
		return err
	}
	if err := s.identified(db, m.locks); err != nil {
		return err
	}
	return s.write(db, fn)
}

var errTorn = errors.New("lock files half made")

// writeUnder is one durable commit under whatever lock files there are.
func (s *Store) writeUnder(db *bbolt.DB, fn func(*bbolt.Tx) error) error {
	if err := s.inspected(); err != nil {
		return err
	}
	err := restoreErrno(db.Update(func(tx *bbolt.Tx) error {
		if err := s.writable(tx); err != nil {
			return err
		}
		return fn(tx)
	}))
	if errors.Is(err, syscall.EIO) {
		err = errors.Join(err, s.suspectDisk())
	}
	return err
}

// burst opens the file in turn, works, and lets go of it.
func (s *Store) burst(ctx context.Context, fn func(*bbolt.DB) error) (err error) {
	if err := s.turn.take(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.turn.release()) }()
	return s.use(os.O_RDWR, fn)
}

// use opens the file, works, and lets go of it. The turn must be held.
func (s *Store) use(flags int, fn func(*bbolt.DB) error) (err error) {
	// A file that vanished must not be made again: no O_CREATE.
	db, err := openFile(s.o.Path, flags)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", s.o.Path, store.ErrMissing)
	}
	if err != nil {
		return err
	}
	// A damaged page leads outside of the file, where reading is a fault and not
	// an error.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %w: %v", s.o.Path, store.ErrDamaged, r)
		}
		err = errors.Join(err, db.Close())
	}()
	if err := checkFileSize(db, s.o.Path); err != nil {
		return err
	}
	return fn(db)
}

// restoreErrno gives an error of the system its number back, where bbolt has kept only
// the text.
func restoreErrno(err error) error {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
		if err != nil && !errors.Is(err, errno) && strings.Contains(err.Error(), errno.Error()) {
			return &system{err, errno}
		}
	}
	return err
}

// system is an error with the number that its text names.
type system struct {
	error
	errno syscall.Errno
}

func (e *system) Unwrap() []error { return []error{e.error, e.errno} }

// checkFileSize makes sure that the file has all the pages that are in use.
func checkFileSize(db *bbolt.DB, path string) error {
	var want int64
	if err := db.View(func(tx *bbolt.Tx) error { want = tx.Size(); return nil }); err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Size() < want {
		return fmt.Errorf("%s: %w: the file has %d bytes and should have %d", path, store.ErrDamaged, st.Size(), want)
	}
	return nil
}

// inspected looks at every page before this process writes anything for the
// first time: damage that hides what was paid must not be used, and not be made
// worse. It runs in its turn.
func (s *Store) inspected() error {
	if s.sound.Load() {
		return nil
	}
	err := s.inspectedBy(inspectQuickly)
	s.sound.Store(err == nil)
	return err
}

// inspectAhead looks at every page before this process has its turn, which keeps others. What
// others write meanwhile may look like damage, and then inspected looks again in the turn; it
// cannot hide any: what a commit leads to, and what led there, is looked at or is younger.
func (s *Store) inspectAhead() {
	if !s.sound.Load() && s.bytes(inspectQuickly) == nil {
		s.sound.Store(true)
	}
}

func (s *Store) inspectedBy(look func(io.ReaderAt, int64) error) error {
	err := s.bytes(look)
	if errors.Is(err, store.ErrDamaged) {
		err = fmt.Errorf("%s: %w", s.o.Path, err)
	}
	return err
}

// bytes opens the file for those who trust none of its pages.
func (s *Store) bytes(look func(file io.ReaderAt, size int64) error) error {
	f, err := os.Open(s.o.Path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return look(f, st.Size())
}

// pageSize is that of a new store: a commit of many rows writes half as many pages of
// 8 KiB, and one of a few rows no more. A store keeps the size it was made with.
const pageSize = 8 << 10

// mapped is how much address space a store is given, where there is plenty: 1 GiB.
// Whenever it outgrows it, bbolt copies what a transaction holds and waits for all
// readers. grows is what the file gets at once.
const (
	mapped = 1 << (strconv.IntSize/2 - 2)
	grows  = 1 << 20
)

// openFile opens a bbolt file with flags of its own, owner-only.
func openFile(path string, flags int) (db *bbolt.DB, err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			// bbolt panics over a damaged list of free pages, with the file locked and
			// mapped: closing it frees no lock, because the mapping keeps it open.
			err = errors.Join(fmt.Errorf("%s: %w: %v", path, store.ErrDamaged, r), unlock(file), file.Close())
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         busyAfter,
		InitialMmapSize: mapped,
		PageSize:        pageSize,
		OpenFile: func(name string, _ int, mode os.FileMode) (_ *os.File, err error) {
			file, err = os.OpenFile(name, flags, mode) //nolint:gosec // the configured path
			if err != nil || flags&os.O_CREATE != 0 {
				return file, err
			}
			// bbolt would make a new store of an empty file.
			if st, err := file.Stat(); err != nil || st.Size() == 0 {
				return nil, errors.Join(err, file.Close(), fmt.Errorf("%s: %w: the file is empty", name, store.ErrDamaged))
			}
			return file, nil
		},
	})
	switch {
	case err == nil:
		db.AllocSize = grows
		return db, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EROFS):
		return nil, err
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%s: %w: another program has it open", path, store.ErrBusy)
	}
	var system syscall.Errno
	if errors.As(err, &system) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// Whatever else bbolt does not like of a file is damage.
	return nil, fmt.Errorf("%s: %w: %w", path, store.ErrDamaged, err)
}

// unlock frees bbolt's lock on a file.
func unlock(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_UN); err != nil {
		return fmt.Errorf("unlock %s: %w", f.Name(), err)
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path) //nolint:gosec // the configured path
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncFolder makes a new name in a file's folder durable.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// inspectQuickly looks at the pages, and at the index that makes an id known.
// It returns the first thing that is wrong as store.ErrDamaged.
func inspectQuickly(file io.ReaderAt, size int64) error {
	return inspect(file, size, func(bucket string, key, value []byte) error {
		if bucket != "ids" && bucket != "names" {
			return nil
		}
		_, err := readIndex(key, value)
		return err
	})
}

// inspectPages looks at the pages alone.
func inspectPages(file io.ReaderAt, size int64) error {
	return inspect(file, size, func(string, []byte, []byte) error { return nil })
}

func inspect(file io.ReaderAt, size int64, look func(bucket string, key, value []byte) error) (err error) {
	fault := func(format string, args ...any) {
		if err == nil {
			err = fmt.Errorf("%w: "+format, append([]any{store.ErrDamaged}, args...)...)
		}
	}
	pages.Inspect(file, size, fault, func(bucket string, key, value []byte) {
		if bad := look(bucket, key, value); bad != nil && err == nil {
			err = bad
		}
	})
	return err
}
