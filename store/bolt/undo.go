package bolt

import (
	"bytes"
	"context"
	"errors"

	"go.etcd.io/bbolt"
)

// undo removes a load that died or failed, in bursts, newest first, so that
// being interrupted leaves nothing that a second undo does not find.
func (s *Store) undo(ctx context.Context) error {
	for done := false; !done; {
		err := s.update(ctx, func(tx *bbolt.Tx) error {
			var err error
			done, err = s.undoBurst(tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) undoBurst(tx *bbolt.Tx) (done bool, err error) {
	m, err := readMeta(tx)
	if err != nil || m.loading == 0 {
		return true, err
	}
	// Keys are gathered before anything is deleted: a cursor does not survive
	// deletes, and Cursor.Last never returns from a tree that they emptied.
	rows := gather(tx.Bucket(bucketLines).Cursor(), be32(m.loading))
	for _, k := range rows {
		if err := tx.Bucket(bucketLines).Delete(k); err != nil {
			return false, err
		}
	}
	made := gatherBack(tx.Bucket(bucketPayouts).Cursor(), m.first)
	for _, n := range made {
		if err := s.unmake(tx, n); err != nil {
			return false, err
		}
	}
	seen := gather(tx.Bucket(bucketSightings).Cursor(), be32(m.loading))
	for _, k := range seen {
		if err := tx.Bucket(bucketSightings).Delete(k); err != nil {
			return false, err
		}
	}
	if len(rows) == burstWrites || len(made) == burstWrites || len(seen) == burstWrites {
		return false, nil
	}
	return true, errors.Join(
		tx.Bucket(bucketProgress).Delete(be32(m.loading)),
		changeMeta(tx, func(m *meta) { m.loading, m.first = 0, 0 }),
	)
}

// gather returns the first keys that begin with a prefix.
func gather(c *bbolt.Cursor, prefix []byte) (keys [][]byte) {
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(keys) < burstWrites; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	return keys
}

// gatherBack returns the last numbers from first on, the highest first.
func gatherBack(c *bbolt.Cursor, first uint64) (numbers []uint64) {
	for k, _ := c.Last(); k != nil && number(k) >= first && len(numbers) < burstWrites; k, _ = c.Prev() {
		numbers = append(numbers, number(k))
	}
	return numbers
}

// unmake removes a payout of a load that is not whole. Its id leads again to
// the payout before it, if there was one.
func (s *Store) unmake(tx *bbolt.Tx, n uint64) error {
	r, err := get(tx, n)
	if err != nil {
		return err
	}
	ids, id := tx.Bucket(bucketIDs), s.sealer.DigestID(r.Key)
	at, err := lookID(tx, id)
	if err == nil && at == n {
		if r.Prev != 0 {
			err = ids.Put(id[:], indexEntry(id[:], r.Prev))
		} else {
			err = ids.Delete(id[:])
		}
	}
	return errors.Join(err, tx.Bucket(bucketPayouts).Delete(be64(n)))
}
