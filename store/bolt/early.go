package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
)

// keepEarly keeps a report about an id that no file has brought yet, sealed where it
// says whom it is about. It is compared when a file brings the id.
func (w *writer) keepEarly(id payout.Digest, e payout.Event) (store.Change, error) {
	if e.Source != payout.FromCallback || !e.Report() {
		return store.Change{Effect: payout.Ignored}, nil
	}
	b := w.tx.Bucket(bucketEarly)
	next := uint32(0)
	kept := 0
	c := b.Cursor()
	for k, v := c.Seek(id[:]); len(k) == 20 && [16]byte(k[:16]) == id; k, v = c.Next() {
		old, sealed, err := codec.DecodeEarly(k, v)
		if err == nil {
			old, err = w.s.sealer.OpenReport(k, old, sealed)
		}
		if err != nil {
			return store.Change{}, err
		}
		if codec.EqualReports(old, e) {
			return store.Change{Kept: true, Effect: payout.Ignored}, nil
		}
		next = binary.BigEndian.Uint32(k[16:]) + 1
		kept++
	}
	if kept >= codec.KeptOfOneID {
		return store.Change{}, fmt.Errorf("%s: %w", e.Key, store.ErrTooManyReports)
	}
	key := append(slices.Clone(id[:]), be32(next)...)
	return store.Change{Kept: true, Effect: payout.Changed}, b.Put(key, codec.EncodeEarly(key, e, w.s.sealer.SealReport(key, e)))
}

// applyEarly applies the reports whose ids have come to be known, and lets go of
// those that no one has asked for in a month.
func (s *Store) applyEarly(tx *bbolt.Tx) (int, error) {
	w := s.writer(tx)
	early := tx.Bucket(bucketEarly)
	var done, expired [][]byte
	c := early.Cursor()
	for k, v := c.First(); len(k) == 20; k, v = c.Next() {
		n, err := w.find(payout.Digest(k[:16]))
		if err != nil {
			return 0, err
		}
		e, sealed, err := codec.DecodeEarly(k, v)
		if err == nil {
			e, err = s.sealer.OpenReport(k, e, sealed)
		}
		if err != nil {
			return 0, err
		}
		if n == 0 {
			if s.o.now().Sub(e.At) > codec.KeptFor {
				expired = append(expired, bytes.Clone(k))
			}
			continue
		}
		r, err := w.get(n)
		if err != nil {
			return 0, err
		}
		if _, err := w.apply(&r, &e); err != nil {
			return 0, err
		}
		done = append(done, bytes.Clone(k))
	}
	for _, k := range append(expired, done...) {
		if err := early.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(done), w.flush()
}

// Early are reports about ids that no file has brought; see store.Store.
func (s *Store) Early(ctx context.Context, limit int) (all []payout.Event, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		all = nil
		c := tx.Bucket(bucketEarly).Cursor()
		for k, v := c.First(); k != nil && len(all) < limit; k, v = c.Next() {
			e, err := codec.ShownEarly(k, v)
			if err != nil {
				return err
			}
			all = append(all, e)
		}
		return nil
	})
	return all, err
}
