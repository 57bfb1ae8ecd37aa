package bolt

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/store"
)

// header returns a batch without its counts.
func (s *Store) header(ctx context.Context, id string) (store.Batch, error) {
	s.mu.Lock()
	for _, b := range s.columns {
		if b.ID == id {
			s.mu.Unlock()
			return b, nil
		}
	}
	s.mu.Unlock()
	b, err := s.Batch(ctx, id)
	if err != nil {
		return b, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.columns[b.Number] = b
	return b, nil
}

// Batch finds a batch; see store.Store.
func (s *Store) Batch(ctx context.Context, id string) (found store.Batch, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		var sum, n []byte
		c := tx.Bucket(bucketNames).Cursor()
		prefix, odd := hexPrefix(id)
		if prefix == nil {
			return fmt.Errorf("%q: %w", id, store.ErrNoBatch)
		}
		for k, v := c.Seek(prefix); k != nil && strings.HasPrefix(string(k), string(prefix)); k, v = c.Next() {
			if odd && !strings.HasPrefix(hex.EncodeToString(k), strings.ToLower(id)) {
				continue
			}
			if n != nil {
				return fmt.Errorf("%q: %w: more than one batch begins so", id, store.ErrNoBatch)
			}
			sum, n = k, v
		}
		if n == nil {
			return fmt.Errorf("%q: %w", id, store.ErrNoBatch)
		}
		at, err := readIndex(sum, n)
		if err != nil {
			return err
		}
		if found, err = readBatch(tx, be32(uint32(at))); err == nil && found.ID != hex.EncodeToString(sum) {
			err = fmt.Errorf("%w: %x leads to another batch", store.ErrDamaged, sum)
		}
		return err
	})
	return found, err
}

// hexPrefix turns the beginning of a batch id into bytes; odd says that half a
// byte is left over.
func hexPrefix(id string) (prefix []byte, odd bool) {
	if len(id) < 4 || len(id) > 64 {
		return nil, false
	}
	odd = len(id)%2 == 1
	prefix, err := hex.DecodeString(strings.ToLower(id[:len(id)/2*2]))
	if err != nil {
		return nil, false
	}
	return prefix, odd
}

// readHeader reads a batch without what is kept as it goes.
func readHeader(tx *bbolt.Tx, key []byte) (b store.Batch, err error) {
	text, err := codec.Plain("batch", key, tx.Bucket(bucketBatches).Get(key))
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("%w: batch: %w", store.ErrDamaged, err)
	}
	return b, nil
}

func readBatch(tx *bbolt.Tx, key []byte) (store.Batch, error) {
	b, err := readHeader(tx, key)
	if err != nil {
		return b, err
	}
	p, err := decodeProgress(key, tx.Bucket(bucketProgress).Get(key))
	if err != nil {
		return b, err
	}
	b.Counts = slices.DeleteFunc(p.sorted(), func(c store.Count) bool { return c.N == 0 })
	b.ChangedAt, b.Held = p.changed, p.hold
	b.Approvals, err = approvalsOf(tx, b)
	return b, err
}

// Latest are the newest batches; see store.Store.
func (s *Store) Latest(ctx context.Context, before uint32, limit int) (all []store.Batch, err error) {
	var from []byte
	if before != 0 {
		from = be32(before)
	}
	return backward(ctx, s, bucketBatches, from, limit, func(tx *bbolt.Tx, k, _ []byte) (store.Batch, error) { return readBatch(tx, k) })
}

// backward reads a bucket's last values below a key, the last first; nil: from the end on.
func backward[T any](ctx context.Context, s *Store, bucket, before []byte, limit int, read func(tx *bbolt.Tx, k, v []byte) (T, error)) (all []T, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		all = nil
		c := tx.Bucket(bucket).Cursor()
		var k, v []byte
		if before != nil {
			k, _ = c.Seek(before)
		}
		if k == nil {
			k, v = c.Last()
		} else {
			k, v = c.Prev()
		}
		for ; k != nil && len(all) < limit; k, v = c.Prev() {
			one, err := read(tx, k, v)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		return nil
	})
	return all, err
}

// Batches streams all whole batches; see store.Store.
func (s *Store) Batches(ctx context.Context) iter.Seq2[store.Batch, error] {
	return stream(ctx, s, bucketBatches, func(tx *bbolt.Tx, k, _ []byte) (store.Batch, error) { return readBatch(tx, k) })
}

// stream yields a small bucket's values, one burst after the other.
func stream[T any](ctx context.Context, s *Store, bucket []byte, read func(tx *bbolt.Tx, k, v []byte) (T, error)) iter.Seq2[T, error] {
	return streamFrom(ctx, s, bucket, []byte{}, read)
}

// streamFrom is stream from a key on.
func streamFrom[T any](ctx context.Context, s *Store, bucket, from []byte, read func(tx *bbolt.Tx, k, v []byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for from := from; from != nil; {
			var burst []T
			err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
				burst, from, err = readBurst(tx, bucket, from, read)
				return err
			})
			for _, t := range burst {
				if !yield(t, nil) {
					return
				}
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
		}
	}
}

// readBurst reads a bucket's values from a key on, with where to go on, nil at the end.
// With an error come those that were read before it.
func readBurst[T any](tx *bbolt.Tx, bucket, from []byte, read func(tx *bbolt.Tx, k, v []byte) (T, error)) (burst []T, next []byte, err error) {
	c := tx.Bucket(bucket).Cursor()
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if len(burst) == burstReads {
			return burst, slices.Clone(k), nil
		}
		t, err := read(tx, k, v)
		if err != nil {
			return burst, nil, err
		}
		burst = append(burst, t)
	}
	return burst, nil, nil
}
