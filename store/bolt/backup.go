package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"
)

// Backup copies the store; see store.Store. Other processes wait for as long as
// the copying takes. Afterwards the generation rises, so that the copy, if it
// is ever put in the store's place, is older than the marker and known as one.
func (s *Store) Backup(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	temporary := path + ".part"
	err := s.burst(ctx, func(db *bbolt.DB) error {
		if err := s.inspected(); err != nil {
			return err // a copy of a damaged store would take a good one's place
		}
		err := db.View(func(tx *bbolt.Tx) error { return copyTo(tx, temporary) })
		if err != nil {
			return err
		}
		var generation uint64
		err = s.write(db, func(tx *bbolt.Tx) error {
			m, err := readMeta(tx)
			if err != nil {
				return err
			}
			m.generation++
			generation = m.generation
			marker, err := readMarker(s.o.marker())
			if err != nil || marker >= generation {
				// This is a copy itself, or its marker is lost: leave the proof alone.
				generation = 0
				return nil //nolint:nilerr // the copy is good; Claim will say what is wrong
			}
			return m.write(tx)
		})
		if err != nil || generation == 0 {
			return err
		}
		return writeMarker(s.o.marker(), generation)
	})
	if err != nil {
		if rm := os.Remove(temporary); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
		return err
	}
	if err := os.Link(temporary, path); err != nil { // never over another file
		return errors.Join(err, os.Remove(temporary))
	}
	return errors.Join(os.Remove(temporary), syncFolder(path))
}

func copyTo(tx *bbolt.Tx, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the path that the caller asked for
	if err != nil {
		return err
	}
	_, err = tx.WriteTo(f)
	return errors.Join(err, f.Sync(), f.Close())
}
