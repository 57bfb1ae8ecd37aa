package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"masspay/store"
)

// settle says that the store is at home where it is, with new lock files: the store
// first, with the identity that the files have now, then the files, then the store
// again, so that being cut off at any moment leaves what the next burst mends. The turn
// must be held.
func (s *Store) settle(db *bbolt.DB) error {
	var id [16]byte
	err := s.writeUnder(db, func(tx *bbolt.Tx) error {
		return changeMeta(tx, func(m *meta) {
			if err := m.settle(s.o.Path); err == nil {
				m.locksBefore = before(s.turn.identity())
			}
			id = m.locks
		})
	})
	if err != nil {
		return err
	}
	return s.identified(db, id)
}

// before is an identity of lock files as locksBefore holds it: files that have none
// must not look like files that are written.
func before(id [16]byte) [16]byte {
	if id == [16]byte{} {
		return noIdentity
	}
	return id
}

// noIdentity means lock files that are new and have no identity yet.
var noIdentity = [16]byte(bytes.Repeat([]byte{0xff}, 16))

// identified writes the store's identity into the lock file, and notes that it is
// there.
func (s *Store) identified(db *bbolt.DB, id [16]byte) error {
	if err := s.turn.identify(id); err != nil {
		return err
	}
	return s.writeUnder(db, func(tx *bbolt.Tx) error {
		return changeMeta(tx, func(m *meta) { m.locksBefore = [16]byte{} })
	})
}

// Settle gives a store that is where it was at home new lock files: they were removed,
// or the store is there under two names, of which the other is not written to any
// more. A copy elsewhere is store.ErrRestored.
func (s *Store) Settle(ctx context.Context) error {
	return s.burst(ctx, func(db *bbolt.DB) error {
		var m meta
		err := db.View(func(tx *bbolt.Tx) (err error) { m, err = readMeta(tx); return err })
		if err == nil && m.elsewhere(s.o.Path) {
			err = fmt.Errorf("%s: %w", s.o.Path, store.ErrRestored)
		}
		if err != nil {
			return err
		}
		return s.settle(db)
	})
}

// Writable reports why the store cannot be written by this process: store.ErrLocks or
// store.ErrNewer, as any write would. It writes nothing.
func (s *Store) Writable(ctx context.Context) error {
	err := s.update(ctx, func(*bbolt.Tx) error { return errNothing })
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

var errNothing = errors.New("nothing to write")
