package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.etcd.io/bbolt"

	"masspay/store"
)

// refuseCopies refuses to claim from a restored store. It returns the epoch of the
// restore while payouts must be polled first, 0 otherwise, and when the
// copy last claimed: what the lost store has sent besides, it sent later.
func (s *Store) refuseCopies(tx *bbolt.Tx, askFirst bool) (epoch uint64, copied time.Time, err error) {
	m, marker, err := s.ageOf(tx)
	lost := errors.Is(err, store.ErrNoMarker)
	if err != nil && (!askFirst || !lost) {
		return 0, copied, err
	}
	older := lost || marker > m.generation || m.elsewhere(s.o.Path)
	switch {
	case !askFirst && (older || m.epoch != 0):
		return 0, copied, fmt.Errorf("%s: %w", s.o.Path, store.ErrRestored)
	case askFirst && (!s.asking || older || m.epoch == 0):
		// A person says that it is a copy, even if the marker came back with it.
		// Every process that is told so asks again: an epoch that came back with
		// the copy proves nothing.
		if m.epoch == 0 {
			m.copied = m.claimed // asking again does not make the copy newer
		}
		m.epoch = max(marker, m.generation) + 1
		m.generation = m.epoch
		return m.epoch, m.copied, m.write(tx)
	}
	return m.epoch, m.copied, nil
}

// AskFirst declares that the store may be a copy, also where its marker is lost: from
// now on the gate is asked about each payout before it is sent, by this process and by
// every other. It writes a marker that says so and gives the store new lock files, in
// place. Claims with AskFirst do the same; this does it before anything else.
func (s *Store) AskFirst(ctx context.Context) error {
	return s.burst(ctx, func(db *bbolt.DB) error {
		if err := s.settle(db); err != nil {
			return err
		}
		var generation uint64
		err := s.write(db, func(tx *bbolt.Tx) (err error) {
			generation, _, err = s.refuseCopies(tx, true)
			return errors.Join(err, note(tx, store.Entry{At: s.o.now(), Act: store.ActAskFirst}.By(s.begun())))
		})
		if err != nil {
			return err
		}
		s.asking = true
		return errors.Join(s.mark(generation, true), syncFile(s.o.marker()), syncFolder(s.o.marker()))
	})
}

// ageOf is what the store and its marker say of the store's age; without a
// marker it is store.ErrNoMarker, with what the store says.
func (s *Store) ageOf(tx *bbolt.Tx) (m meta, marker uint64, err error) {
	if m, err = readMeta(tx); err != nil {
		return m, 0, err
	}
	marker, restored, err := readMarker(s.o.marker())
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", s.o.marker(), store.ErrNoMarker)
	}
	if restored && m.epoch == 0 {
		marker = max(marker, m.generation+1) // it belongs to a copy, and this is another one
	}
	return m, marker, err
}

// Restored reports whether payouts must be asked about before they are sent,
// because the store is a copy. It fails with store.ErrNoMarker.
func (s *Store) Restored(ctx context.Context) (restored bool, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		m, marker, err := s.ageOf(tx)
		restored = marker > m.generation || m.epoch != 0 || m.elsewhere(s.o.Path)
		return err
	})
	return restored, err
}

// Trust declares that the store is the newest there is: it writes the marker
// again and ends the asking. A person says so; nothing else calls it.
func (s *Store) Trust(ctx context.Context) error {
	return s.burst(ctx, func(db *bbolt.DB) error {
		if err := s.settle(db); err != nil {
			return err
		}
		var generation uint64
		err := s.write(db, func(tx *bbolt.Tx) error {
			marker, _, err := readMarker(s.o.marker())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return errors.Join(changeMeta(tx, func(m *meta) {
				generation = max(m.generation, marker) + 1
				m.generation, m.epoch, m.copied = generation, 0, time.Time{}
			}), note(tx, store.Entry{At: s.o.now(), Act: store.ActTrusted}.By(s.begun())))
		})
		if err != nil {
			return err
		}
		return errors.Join(s.mark(generation, false), syncFile(s.o.marker()))
	})
}
