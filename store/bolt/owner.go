package bolt

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"masspay/store/codec"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"

	"masspay/store"
	"masspay/store/clock"
)

// An owner is a process that claims. It holds a lock file of its own for life, and a
// record in the store says which process that is. A lock that could be taken is
// proof that the process is dead: the proof is recorded in the commit that uses it,
// and the file is removed only when no payout of the owner is left. A file that is
// missing proves nothing.

// ownerRecord is what the store knows of an owner.
type ownerRecord struct {
	Boot    uint64    `json:"boot,omitempty"` // of the machine that it runs on; 0: not known
	Machine uint64    `json:"machine,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Dead    bool      `json:"dead,omitempty"` // proven
}

func putOwner(tx *bbolt.Tx, owner uint64, r ownerRecord) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketOwners).Put(be64(owner), codec.Summed(be64(owner), text))
}

// readOwner returns the zero record for an owner that is not known.
func readOwner(tx *bbolt.Tx, owner uint64) (r ownerRecord, err error) {
	v := tx.Bucket(bucketOwners).Get(be64(owner))
	if v == nil {
		return r, nil
	}
	text, err := codec.Plain("owner", be64(owner), v)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// becomeOwner gives the process an owner number and a lock file that it holds for
// life, on the first claim.
func (s *Store) becomeOwner() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != 0 {
		return s.owner, nil
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	owner := binary.BigEndian.Uint64(b[:])
	l := flock.New(s.ownerPath(owner), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return 0, fmt.Errorf("lock file %s: %w", l.Path(), err)
	}
	if !ok {
		return 0, fmt.Errorf("lock file %s: %w", l.Path(), store.ErrBusy)
	}
	adopt(l.Path(), s.o.Path)
	// Its name must outlive a power cut: a missing file would prove nothing of a process
	// that is surely dead.
	if err := syncFolder(l.Path()); err != nil {
		return 0, errors.Join(err, remove(l.Path()), l.Unlock())
	}
	mine, err := l.Stat()
	if err != nil {
		return 0, errors.Join(err, remove(l.Path()), l.Unlock())
	}
	s.owner, s.ownLock, s.ownFile = owner, l, mine
	return owner, nil
}

func (s *Store) ownerPath(owner uint64) string {
	return s.o.Path + ".owner-" + hex.EncodeToString(be64(owner))
}

// register records an owner with its first claim.
func (s *Store) register(tx *bbolt.Tx, owner uint64) error {
	if tx.Bucket(bucketOwners).Get(be64(owner)) != nil {
		return nil
	}
	return putOwner(tx, owner, ownerRecord{Boot: clock.Boot(), Machine: clock.Machine(), PID: os.Getpid(), Since: s.o.now().UTC()})
}

// MaySend makes sure that this process's lock file is still its own; see store.Store.
// Where it was removed or replaced, others may find the process dead. What was seen
// within the last millisecond is not looked at again: a request is not faster than
// that on its way from here to the wire, unless its connection had to be made first.
func (s *Store) MaySend(_ context.Context, dialled bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, mine := s.ownLock, s.ownFile
	if l == nil || !l.Locked() {
		return fmt.Errorf("%w: it holds no claim", store.ErrFenced)
	}
	now := time.Now()
	if !dialled && now.Sub(s.ownSeen) < time.Millisecond {
		return nil
	}
	there, err := os.Stat(l.Path())
	if err != nil {
		return fmt.Errorf("%w: its lock file: %w", store.ErrFenced, err)
	}
	if !os.SameFile(mine, there) {
		return fmt.Errorf("%w: its lock file %s was replaced", store.ErrFenced, l.Path())
	}
	s.ownSeen = now
	return nil
}

// What a look at an owner's lock file tells.
const (
	ownerAlive   = iota
	ownerDead    // its lock could be taken, and is held by the caller now
	ownerMissing // there is no file: alive or dead is not known
)

// look looks at an owner's lock file. Dangerous if it errs: a living process's
// payouts would be polled and, after the quiet period, sent again. So only a lock
// that could be taken is proof.
func (s *Store) look(owner uint64) (state int, l *flock.Flock, err error) {
	s.mu.Lock()
	mine := owner == s.owner
	s.mu.Unlock()
	if mine {
		return ownerAlive, nil, nil
	}
	path := s.ownerPath(owner)
	before, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ownerMissing, nil, nil
	} else if err != nil {
		return ownerAlive, nil, err
	}
	l = flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(os.O_RDWR)) // never created
	ok, err := l.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		return ownerMissing, nil, nil
	}
	if err != nil || !ok {
		return ownerAlive, nil, err
	}
	if now, err := l.Stat(); err != nil || !os.SameFile(before, now) {
		return ownerAlive, nil, errors.Join(err, l.Unlock()) // another process is recovering it
	}
	return ownerDead, l, nil
}

// Close gives up the process's place; see store.Store. Its lock file stays while
// payouts of it are left: that its lock is free tells the next Recover so.
func (s *Store) Close() error {
	s.mu.Lock()
	owner, l := s.owner, s.ownLock
	s.mu.Unlock()
	if l == nil {
		return nil
	}
	left := true
	err := s.update(context.Background(), func(tx *bbolt.Tx) error {
		k, _ := tx.Bucket(bucketClaims).Cursor().Seek(be64(owner))
		if left = len(k) == 16 && string(k[:8]) == string(be64(owner)); left {
			return nil
		}
		return tx.Bucket(bucketOwners).Delete(be64(owner))
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed error
	if err == nil && !left {
		failed = remove(l.Path())
	}
	s.ownLock, s.owner = nil, 0
	return errors.Join(failed, l.Unlock())
}
