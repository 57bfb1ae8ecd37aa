// Package bolt keeps payouts in one bbolt file that several processes share.
//
// bbolt locks its file for as long as it is open, so this package opens it for
// a burst of work, 50 ms at the most, and lets go; two lock files beside it
// keep the turns fair. It is not for network file systems, whose locks lie.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"

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
	bucketDue      = []byte("due")      // PollAt, payout number -> nothing
	bucketClaims   = []byte("claims")   // owner, payout number -> nothing
	bucketFreed    = []byte("freed")    // batch number, index: New again behind the cursor
	bucketEarly    = []byte("early")    // digest of the id, sequence -> event, waiting for a load
	bucketHosts    = []byte("hosts")    // gate host -> open payouts sent to it
	bucketRuns     = []byte("runs")     // sequence -> run, JSON
	bucketOwners   = []byte("owners")   // owner -> which process that is, JSON
	bucketGates    = []byte("gates")    // gate's identity -> when it was proven to be one

	bucketExceptions = []byte("exceptions") // payout number -> whether a person has seen it
	bucketAudit      = []byte("audit")      // sequence -> hash and JSON of an entry

	bucketFlows = []byte("flows") // batch number, minute -> what passed; "all" -> totals

	bucketSightings = []byte("sightings") // batch number, account's mark, payout number -> nothing; of late
	bucketApprovals = []byte("approvals") // batch number, sequence -> approval, JSON
	bucketSeries    = []byte("series")    // name -> last number
	bucketCustomers = []byte("customers") // customer's mark -> the accounts that were paid to

	// bucketFamilies is made with the first retry: digest of a first id -> what stands
	// behind it in those of its retries, divided by spaces.
	bucketFamilies = []byte("families")

	buckets = [][]byte{
		bucketMeta, bucketBatches, bucketNames, bucketProgress, bucketLines, bucketPayouts,
		bucketIDs, bucketDue, bucketClaims, bucketFreed, bucketEarly, bucketHosts, bucketRuns, bucketOwners, bucketGates,
		bucketExceptions, bucketAudit, bucketSightings, bucketCustomers, bucketSeries, bucketApprovals, bucketFlows,
	}
)

// Options are what a store is opened with.
type Options struct {
	Path   string
	Key    seal.Key
	Marker string        // path of the marker; empty: Path + ".marker"
	Rules  payout.Rules  // for payout.Next
	Wait   time.Duration // for a turn at the store, then store.ErrBusy; 0: 10 s

	// KeepFor is for how long rows are known again by account; 0: store.KeepFor.
	KeepFor time.Duration

	// Sound is shared by the stores that this process opens of one file, one after the other:
	// whether it has looked at every page. nil: each store looks.
	Sound *atomic.Bool

	// Waited is told how long this process waited for each of its turns, and whether in vain.
	// It must not block; nil: nobody is told.
	Waited func(d time.Duration, busy bool)

	AnyFileSystem bool // also one that is not known to keep locks and syncs

	// Now is the wall clock, for the times that people read and by which polls
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
	run    atomic.Pointer[store.Run] // the one that this is, once it is recorded

	mu      sync.Mutex
	columns map[uint32]store.Batch // headers, which never change
	owner   uint64                 // 0 until the first claim
	ownLock *flock.Flock
	ownFile os.FileInfo // of ownLock, which stays open: no other file can get its number
	ownSeen time.Time   // when MaySend last found it in its place
	asking  bool        // this process has begun an epoch; used in its turn only
	marked  bool        // this process has synced the marker; used in its turn only

	sound *atomic.Bool // this process has looked at every page

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
	s := newStore(sealer, o)
	if err := s.view(ctx, s.checkStore); err != nil {
		return nil, err
	}
	return s, nil
}

func newStore(sealer *seal.Sealer, o Options) *Store {
	s := &Store{sealer: sealer, o: o, turn: newTurn(o), columns: map[uint32]store.Batch{}, sound: o.Sound}
	if s.sound == nil {
		s.sound = new(atomic.Bool)
	}
	return s
}

// checkStore makes sure that a file is a store, of a known format, with all its
// parts, made with this key.
func (s *Store) checkStore(tx *bbolt.Tx) error {
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
