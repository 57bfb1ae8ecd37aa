package bolt

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
)

// SameContent compares a payout with a row; see store.Store.
func (s *Store) SameContent(p *payout.Payout, method string, canonical []byte) bool {
	return p.Content == s.sealer.DigestContent(method, canonical)
}

// Lookup finds payouts by their ids; see store.Store. It goes through the index in
// its order, so that ids that lie together cost next to nothing.
func (s *Store) Lookup(ctx context.Context, keys []payout.Key) (map[payout.Key]*payout.Payout, error) {
	found := map[payout.Key]*payout.Payout{}
	ids := make([]payout.Digest, len(keys))
	for i, k := range keys {
		ids[i] = s.sealer.DigestID(k)
	}
	order := upTo(len(ids))
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(ids[a][:], ids[b][:]) })
	for part := range slices.Chunk(order, burstReads) {
		err := s.view(ctx, func(tx *bbolt.Tx) error {
			first, err := unloaded(tx)
			if err != nil {
				return err
			}
			index := newIndex(tx)
			for _, i := range part {
				if !index.has(ids[i][:]) {
					continue
				}
				n, err := find(tx, ids[i], first)
				if err != nil {
					return err
				}
				if n == 0 {
					continue
				}
				r, err := get(tx, n)
				if err != nil {
					return err
				}
				if !r.FreesID() {
					found[r.Key] = &r.Payout
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// index goes through the index of ids for keys that rise.
type index struct {
	c   *bbolt.Cursor
	key []byte // where it is; nil at the end
}

func newIndex(tx *bbolt.Tx) *index {
	x := &index{c: tx.Bucket(bucketIDs).Cursor()}
	x.key, _ = x.c.First()
	return x
}

// steps is how many entries are passed one by one before the tree is searched.
const steps = 16

func (x *index) has(id []byte) bool {
	for n := 0; x.key != nil && bytes.Compare(x.key, id) < 0; n++ {
		if n < steps {
			x.key, _ = x.c.Next()
		} else {
			x.key, _ = x.c.Seek(id)
		}
	}
	return bytes.Equal(x.key, id)
}

// Get returns a payout with its events; see store.Store.
func (s *Store) Get(ctx context.Context, key payout.Key) (rec payout.History, err error) {
	id := s.sealer.DigestID(key)
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		first, err := unloaded(tx)
		if err != nil {
			return err
		}
		n, err := find(tx, id, first)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%s: %w", key, store.ErrNoPayout)
		}
		rec, err = full(tx, n, true)
		return err
	})
	return rec, err
}

func full(tx *bbolt.Tx, n uint64, events bool) (payout.History, error) {
	r, err := get(tx, n)
	if err != nil {
		return payout.History{}, err
	}
	return r.Full(events)
}

// Row returns a row of a payout; see store.Store.
func (s *Store) Row(ctx context.Context, p payout.Payout, at payout.Place) (columns []string, out store.Line, err error) {
	var kept line
	var header store.Batch
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		var err error
		if header, err = readBatch(tx, be32(at.Batch)); err != nil {
			return err
		}
		key := pair32(at.Batch, at.Index)
		kept, err = decodeLine(key, tx.Bucket(bucketLines).Get(key))
		kept.sealed = slices.Clone(kept.sealed)
		return err
	})
	if err != nil {
		return nil, out, err
	}
	out = store.Line{Index: int(at.Index), Line: int(kept.line), Payout: p}
	out.Cells, err = s.sealer.Open(kept.sealed, p.Key, at.Batch, at.Index)
	return header.Columns, out, err
}
