// Package bolt keeps payouts in one bbolt file that several processes share.
//
// bbolt locks its file for as long as it is open, so this package opens it for
// a burst of work, 50 ms at the most, and lets go; two lock files beside it
// keep the turns fair. It is not for network file systems, whose locks lie.
package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"masspay/payout"
	"masspay/store"
	"masspay/store/seal"
)

// A burst ends after so many rows, which take some 20 to 50 ms.
const (
	burstReads  = 10_000
	burstLines  = 4_000 // with their cells
	burstWrites = 5_000
)

// The buckets. Keys are big-endian, so that neighbours lie together.
var (
	bucketMeta     = []byte("meta")     // see meta.go
	bucketBatches  = []byte("batches")  // batch number -> header, JSON
	bucketNames    = []byte("names")    // SHA-256 -> batch number
	bucketProgress = []byte("progress") // batch number -> progress
	bucketLines    = []byte("lines")    // batch number, index -> line
	bucketPayouts  = []byte("payouts")  // payout number -> record, its events in it
	bucketIDs      = []byte("ids")      // digest of the id -> payout number
	bucketDue      = []byte("due")      // AskAt, payout number -> nothing
	bucketClaims   = []byte("claims")   // owner, payout number -> nothing
	bucketFreed    = []byte("freed")    // batch number, index: New again behind the cursor
	bucketEarly    = []byte("early")    // digest of the id, sequence -> event, waiting for a load
	bucketHosts    = []byte("hosts")    // gate host -> open payouts sent to it
	bucketRuns     = []byte("runs")     // sequence -> run, JSON
	bucketOwners   = []byte("owners")   // owner -> which process that is, JSON
	bucketGates    = []byte("gates")    // gate's identity -> when it was proven to be one

	// bucketFamilies is made with the first retry: digest of a first id -> what stands
	// behind it in those of its retries, divided by spaces.
	bucketFamilies = []byte("families")

	buckets = [][]byte{
		bucketMeta, bucketBatches, bucketNames, bucketProgress, bucketLines, bucketPayouts,
		bucketIDs, bucketDue, bucketClaims, bucketFreed, bucketEarly, bucketHosts, bucketRuns, bucketOwners, bucketGates,
	}
)

// Options are what a store is opened with.
type Options struct {
	Path   string
	Key    seal.Key
	Marker string        // path of the marker; empty: Path + ".marker"
	Rules  payout.Rules  // for payout.Next
	Wait   time.Duration // for a turn at the store, then store.ErrBusy; 0: 10 s

	AnyFileSystem bool // also one that is not known to keep locks and syncs

	// Now is the wall clock, for the times that people read and by which questions
	// come due; nil: time.Now. Tests step it. Whether a payout may be sent again
	// never depends on it.
	Now func() time.Time
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

func (o Options) marker() string {
	if o.Marker != "" {
		return o.Marker
	}
	return o.Path + ".marker"
}

// Store is a store.Store in a bbolt file.
type Store struct {
	sealer *seal.Sealer
	o      Options
	turn   *turn
	run    atomic.Uint64 // number of the run that this is, once it is recorded

	mu      sync.Mutex
	columns map[uint32]store.Batch // headers, which never change
	owner   uint64                 // 0 until the first claim
	ownLock *flock.Flock
	ownFile os.FileInfo // of ownLock, which stays open: no other file can get its number
	ownSeen time.Time   // when MaySend last found it in its place
	asking  bool        // this process has begun an epoch; used in its turn only
	marked  bool        // this process has synced the marker; used in its turn only
	sound   bool        // this process has looked at every page; used in its turn only

	migrated func() error // after each commit of a migration; tests cut it off there
}

var (
	_ store.Store    = (*Store)(nil)
	_ store.Backuper = (*Store)(nil)
)

// RealPath is where a store really lies: lock files are named after it, so that
// a link does not lead to a second set of locks.
func RealPath(path string) string {
	if path == "" {
		return ""
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(folder, filepath.Base(path))
	}
	return path
}

// Create makes a new, empty store, readable by its owner only, and its marker.
// It fails when the file exists.
func Create(ctx context.Context, o Options) error {
	o.Path = RealPath(o.Path)
	if err := o.checkFileSystem(); err != nil {
		return err
	}
	sealer, err := seal.New(o.Key)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(o.Path); err == nil {
		return fmt.Errorf("%s: %w", o.Path, fs.ErrExist)
	}
	// Under another name until it is whole, so that no half-made store is ever
	// taken for an empty one.
	temporary := o.Path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := openFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	m := meta{check: sealer.Check(), next: 1, nextBatch: 1}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		b := tx.Bucket(bucketMeta)
		return errors.Join(b.Put(metaFormat, be64(format)), b.Put(metaReadable, be64(readableBy)), m.settle(temporary), m.write(tx))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	t := newTurn(o)
	if err := t.take(ctx); err != nil {
		return err
	}
	defer func() { _ = t.release() }()
	// The lock files first: a store never comes to be without its own.
	if err := errors.Join(t.identify(m.locks), writeMarker(o.marker(), 0, false), syncFile(o.marker()), syncFolder(o.marker())); err != nil {
		return err
	}
	if err := os.Link(temporary, o.Path); err != nil { // unlike rename, never over another
		return errors.Join(err, os.Remove(temporary))
	}
	return errors.Join(os.Remove(temporary), syncFolder(o.Path))
}

// Open opens a store that Create has made. It returns store.ErrMissing,
// store.ErrKey, store.ErrNewer or store.ErrBusy, and holds nothing open.
func Open(ctx context.Context, o Options) (*Store, error) {
	sealer, err := seal.New(o.Key)
	if err != nil {
		return nil, err
	}
	o.Path = RealPath(o.Path)
	st, err := os.Stat(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", o.Path, store.ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Nlink > 1 {
		return nil, fmt.Errorf("%s: the file has a second name (a hard link), whose locks would be others", o.Path)
	}
	if err := o.checkFileSystem(); err != nil {
		return nil, err
	}
	s := &Store{sealer: sealer, o: o, turn: newTurn(o), columns: map[uint32]store.Batch{}}
	if err := s.view(ctx, s.mine); err != nil {
		return nil, err
	}
	return s, nil
}

// mine makes sure that a file is a store, of a known format, with all its
// parts, made with this key.
func (s *Store) mine(tx *bbolt.Tx) error {
	if err := s.known(tx.Bucket(bucketMeta)); err != nil {
		return err
	}
	m, err := readMeta(tx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.o.Path, err)
	}
	if m.check != s.sealer.Check() {
		return fmt.Errorf("%s: %w", s.o.Path, store.ErrKey)
	}
	for _, b := range buckets {
		if tx.Bucket(b) == nil {
			return fmt.Errorf("%s: %w: part %q is missing", s.o.Path, store.ErrDamaged, b)
		}
	}
	return nil
}

// Between runs do while this process is not at the store's file: a process that is
// suspended then does not block others. It blocks until a burst under way is through, some milliseconds
// mostly.
func (s *Store) Between(do func()) { s.turn.between(do) }

// view runs a read burst.
func (s *Store) view(ctx context.Context, fn func(*bbolt.Tx) error) error {
	return s.burst(ctx, func(db *bbolt.DB) error { return db.View(fn) })
}

// update runs a write burst: one durable commit, or nothing.
func (s *Store) update(ctx context.Context, fn func(*bbolt.Tx) error) error {
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
	err := named(db.Update(func(tx *bbolt.Tx) error {
		if err := s.writable(tx); err != nil {
			return err
		}
		return fn(tx)
	}))
	if errors.Is(err, syscall.EIO) {
		err = errors.Join(err, s.distrust())
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
	// A file that vanished must not be made anew: no O_CREATE.
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
	if err := uncut(db, s.o.Path); err != nil {
		return err
	}
	return fn(db)
}

// named gives an error of the system its number back, where bbolt has kept only
// the text.
func named(err error) error {
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

// distrust makes the store look like a restored copy, as far as a failing disk
// lets it. What a disk could not write it forgets without another word, and
// what is read back now may be gone after the next start: a payout that is
// recorded as sent may become unsent again.
func (s *Store) distrust() error {
	generation, restored, err := readMarker(s.o.marker())
	if err != nil {
		return nil //nolint:nilerr // no marker: nothing is sent either
	}
	return errors.Join(s.mark(generation+1_000_000, restored), syncFile(s.o.marker()))
}

// uncut makes sure that the file has all the pages that are in use.
func uncut(db *bbolt.DB, path string) error {
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
	if s.sound {
		return nil
	}
	err := s.bytes(inspectQuickly)
	if errors.Is(err, store.ErrDamaged) {
		err = fmt.Errorf("%s: %w", s.o.Path, err)
	}
	s.sound = err == nil
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

// be64 and its kin are key parts.
func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func pair32(a, b uint32) []byte { return append32(nil, a, b) }
func pair64(a, b uint64) []byte { return append64(nil, a, b) }

func append32(key []byte, a, b uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(key, a), b)
}

func append64(key []byte, a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(key, a), b)
}

// number reads a key or a value of 8 bytes; anything else is 0.
func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// dueKey sorts by time.
func dueKey(at time.Time, n uint64) []byte { return appendDue(nil, at, n) }

func appendDue(key []byte, at time.Time, n uint64) []byte {
	return append64(key, uint64(at.UnixMicro()), n)
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
