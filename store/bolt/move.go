package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
	"masspay/store/seal"
)

// metaMoved is where a store was moved to. It is a key of its own, and goes with a
// readable_by that no masspay knows: older ones name the store newer, and send nothing
// either.
var metaMoved = []byte("moved")

const readableByNone = 1 << 62

// Move gives everything that a store keeps to whoever takes it over, and marks the store
// so that it never sends again. Other processes wait meanwhile. It is refused while
// anything is being sent, and for a restored copy. Cut off after the mark, it is called
// again with the same place.
func Move(ctx context.Context, o Options, to string, take func(ctx context.Context, i *codec.Image) error) error {
	sealer, err := seal.New(o.Key)
	if err != nil {
		return err
	}
	o.Path = RealPath(o.Path)
	s := newStore(sealer, o)
	moved, err := s.movedTo(ctx)
	if err != nil {
		return err
	}
	if moved != "" && moved != to {
		return fmt.Errorf("%s: %w (to %s)", o.Path, store.ErrMoved, moved)
	}
	if moved == "" {
		if err := s.mayMove(ctx); err != nil {
			return err
		}
	}
	return s.burst(ctx, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			i, err := s.image(tx)
			if err != nil {
				return err
			}
			i.Handed = func() error { return nil }
			if moved == "" {
				i.Handed = func() error { return s.markMoved(db, to) }
			}
			return take(ctx, i)
		})
	})
}

// markMoved keeps in the file that it was moved, for ever: what it was before, put back in
// its place, is a restored copy.
func (s *Store) markMoved(db *bbolt.DB, to string) error {
	var generation uint64
	err := s.writeUnder(db, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta)
		return errors.Join(changeMeta(tx, func(m *meta) {
			m.generation++
			generation = m.generation
		}), b.Put(metaMoved, []byte(to)), b.Put(metaReadable, be64(readableByNone)))
	})
	if err != nil {
		return err
	}
	return errors.Join(s.mark(generation, false), syncFile(s.o.marker()))
}

// movedTo is where the store was moved to; empty: it was not.
func (s *Store) movedTo(ctx context.Context) (to string, err error) {
	if _, err := os.Stat(s.o.Path); err != nil {
		return "", err
	}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketMeta); b != nil {
			to = string(b.Get(metaMoved))
		}
		return nil
	})
	return to, err
}

// mayMove makes sure that nothing is under way, or not known.
func (s *Store) mayMove(ctx context.Context) error {
	if err := s.view(ctx, s.checkStore); err != nil {
		return err
	}
	if _, err := s.Recover(ctx); err != nil {
		return err
	}
	restored, err := s.Restored(ctx)
	if err != nil {
		return err
	}
	if restored {
		return fmt.Errorf("%s: %w", s.o.Path, store.ErrRestored)
	}
	if err := s.undo(ctx); err != nil {
		return err
	}
	e, err := s.Examine(ctx)
	if err != nil {
		return err
	}
	if len(e.Wrong) > 0 {
		return fmt.Errorf("%s: %w: %s", s.o.Path, store.ErrDamaged, e.Wrong[0])
	}
	return s.view(ctx, func(tx *bbolt.Tx) error {
		if k, _ := tx.Bucket(bucketClaims).Cursor().First(); k != nil {
			return fmt.Errorf("%s: %w: a run is sending from it", s.o.Path, store.ErrBusy)
		}
		return nil
	})
}

// image is everything, as of a transaction.
func (s *Store) image(tx *bbolt.Tx) (*codec.Image, error) {
	m, err := readMeta(tx)
	if err != nil {
		return nil, err
	}
	if m.check != s.sealer.Check() {
		return nil, fmt.Errorf("%s: %w", s.o.Path, store.ErrKey)
	}
	i := &codec.Image{
		NextNumber: m.next, NextBatch: m.nextBatch, Generation: m.generation, Claimed: m.claimed,
		Payouts: s.payoutImages(tx), Lines: lineImages(tx), Sightings: sightingImages(tx), Customers: customerImages(tx), Families: map[payout.Digest][]string{}, Series: map[string]uint64{}, Minutes: map[uint32][]store.Minute{},
	}
	for _, part := range []func(tx *bbolt.Tx, i *codec.Image) error{batchImages, s.reportImages, restImages} {
		if err := part(tx, i); err != nil {
			return nil, err
		}
	}
	return i, nil
}

func batchImages(tx *bbolt.Tx, i *codec.Image) error {
	return tx.Bucket(bucketBatches).ForEach(func(k, _ []byte) error {
		b, err := readBatch(tx, k)
		if err != nil {
			return err
		}
		p, err := decodeProgress(k, tx.Bucket(bucketProgress).Get(k))
		if err != nil {
			return err
		}
		i.Batches = append(i.Batches, codec.BatchImage{Batch: b, Cursor: p.cursor})
		return nil
	})
}

func (s *Store) payoutImages(tx *bbolt.Tx) iter.Seq2[codec.Record, error] {
	return func(yield func(codec.Record, error) bool) {
		c := tx.Bucket(bucketPayouts).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			r, err := recordOf(tx, k, v)
			r.Room = 0
			if err == nil && r.State == payout.StateSending {
				err = fmt.Errorf("%s: %w: %s is being sent", s.o.Path, store.ErrBusy, r.Key)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func lineImages(tx *bbolt.Tx) iter.Seq2[codec.LineImage, error] {
	return func(yield func(codec.LineImage, error) bool) {
		c := tx.Bucket(bucketLines).Cursor()
		for k, v := c.First(); len(k) == 8; k, v = c.Next() {
			l, err := decodeLine(k, v)
			image := codec.LineImage{
				Batch: binary.BigEndian.Uint32(k), Index: binary.BigEndian.Uint32(k[4:]), Payout: l.payout, Line: l.line, Skip: l.skip, Sealed: l.sealed,
			}
			if !yield(image, err) || err != nil {
				return
			}
		}
	}
}

func (s *Store) reportImages(tx *bbolt.Tx, i *codec.Image) error {
	return tx.Bucket(bucketEarly).ForEach(func(k, v []byte) error {
		e, sealed, err := codec.DecodeEarly(k, v)
		if err == nil {
			e, err = s.sealer.OpenReport(k, e, sealed)
		}
		i.Reports = append(i.Reports, codec.ReportImage{ID: payout.Digest(k[:16]), Event: e})
		return err
	})
}

func restImages(tx *bbolt.Tx, i *codec.Image) error {
	if b := tx.Bucket(bucketFamilies); b != nil {
		err := b.ForEach(func(k, v []byte) error {
			endings, err := endingsOf(k, v)
			i.Families[payout.Digest(k)] = endings
			return err
		})
		if err != nil {
			return err
		}
	}
	var err error
	if i.Totals, err = readTotals(tx); err != nil {
		return err
	}
	for _, b := range i.Batches {
		if i.Minutes[b.Number], err = minutesOf(tx, b.Number); err != nil {
			return err
		}
	}
	err = tx.Bucket(bucketGates).ForEach(func(k, _ []byte) error {
		i.Gates = append(i.Gates, string(k))
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.Bucket(bucketRuns).ForEach(func(k, v []byte) error {
		r, err := readRun(k, v)
		r.Process = 0 // which another store does not know
		i.Runs = append(i.Runs, r)
		return err
	})
	if err != nil {
		return err
	}
	err = tx.Bucket(bucketSeries).ForEach(func(k, v []byte) error {
		n, err := readIndex(k, v)
		i.Series[string(k)] = n
		return err
	})
	if err != nil {
		return err
	}
	return tx.Bucket(bucketAudit).ForEach(func(k, v []byte) error {
		l, err := readLink(k, v)
		i.Audit = append(i.Audit, l)
		return err
	})
}

func sightingImages(tx *bbolt.Tx) iter.Seq2[codec.SightingImage, error] {
	return func(yield func(codec.SightingImage, error) bool) {
		c := tx.Bucket(bucketSightings).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			batch, account, n, err := readSighting(k)
			if err != nil {
				yield(codec.SightingImage{}, err)
				return
			}
			if !yield(codec.SightingImage{Batch: binary.BigEndian.Uint32(batch), Account: account, Payout: n}, nil) {
				return
			}
		}
	}
}

func customerImages(tx *bbolt.Tx) iter.Seq2[codec.CustomerImage, error] {
	return func(yield func(codec.CustomerImage, error) bool) {
		c := tx.Bucket(bucketCustomers).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			all, err := codec.DecodeRemembered(k, v)
			if !yield(codec.CustomerImage{Customer: store.Mark(k), Accounts: all}, err) || err != nil {
				return
			}
		}
	}
}
