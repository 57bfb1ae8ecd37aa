package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Backup copies the store; see store.Store. Other processes wait for as long as
// the copying takes. Afterwards the generation rises, so that the copy, if it
// is ever put in the store's place, is older than the marker and known as one.
//
// Until it is whole the copy is a new file beside path, .backup.masspay-*.tmp,
// on which flock(2) is held: one that no one holds was left by a killed process
// and may be removed. Backup never opens, follows or replaces what is there.
func (s *Store) Backup(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	// CreateTemp opens with O_EXCL, which follows no link and reuses no file.
	temporary, err := os.CreateTemp(filepath.Dir(path), ".backup.masspay-*.tmp")
	if err != nil {
		return err
	}
	_ = unix.Flock(int(temporary.Fd()), unix.LOCK_EX|unix.LOCK_NB) // without locks it is never swept
	err = s.backup(ctx, temporary)
	if err == nil {
		err = os.Link(temporary.Name(), path) // never over another file
	}
	err = errors.Join(err, os.Remove(temporary.Name()), temporary.Close())
	if err != nil {
		return err
	}
	return syncFolder(path)
}

// backup copies the store to an empty file.
func (s *Store) backup(ctx context.Context, f *os.File) error {
	return s.burst(ctx, func(db *bbolt.DB) error {
		if err := s.inspected(); err != nil {
			return err // a copy of a damaged store would take a good one's place
		}
		err := db.View(func(tx *bbolt.Tx) error { return copyTo(tx, f) })
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
			marker, _, err := readMarker(s.o.marker())
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
		return s.mark(generation, false)
	})
}

func copyTo(tx *bbolt.Tx, f *os.File) error {
	_, err := tx.WriteTo(f)
	return errors.Join(err, f.Sync())
}
