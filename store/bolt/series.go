package bolt

import (
	"context"

	"go.etcd.io/bbolt"

	"masspay/store"
)

// Series are the last numbers of all series; see store.Store.
func (s *Store) Series(ctx context.Context) (last map[string]uint64, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		last = map[string]uint64{}
		return tx.Bucket(bucketSeries).ForEach(func(k, v []byte) error {
			n, err := readIndex(k, v)
			last[string(k)] = n
			return err
		})
	})
	return last, err
}

// PassSeries passes over a gap in a series; see store.Store.
func (s *Store) PassSeries(ctx context.Context, next store.Series, person, reason string) error {
	return s.update(ctx, func(tx *bbolt.Tx) error {
		last, err := lastOf(tx, next.Name)
		if err != nil {
			return err
		}
		if next.Number <= last {
			return &store.SeriesError{Series: next, Last: last}
		}
		if err := putSeries(tx, next.Name, next.Number-1); err != nil {
			return err
		}
		e := store.SeriesEntry(next, last, person, reason)
		e.At = s.o.now()
		return note(tx, e.By(s.begun()))
	})
}

// lastOf is the last number of a series, 0: there is none yet.
func lastOf(tx *bbolt.Tx, name string) (uint64, error) {
	v := tx.Bucket(bucketSeries).Get([]byte(name))
	if v == nil {
		return 0, nil
	}
	return readIndex([]byte(name), v)
}

func putSeries(tx *bbolt.Tx, name string, last uint64) error {
	return tx.Bucket(bucketSeries).Put([]byte(name), indexEntry([]byte(name), last))
}

// takeNumber takes a file's number in its series, in the commit that makes the batch count.
func takeNumber(tx *bbolt.Tx, is *store.Series) error {
	if is == nil {
		return nil
	}
	last, err := lastOf(tx, is.Name)
	if err == nil {
		err = is.Follows(last)
	}
	if err != nil {
		return err
	}
	return putSeries(tx, is.Name, is.Number)
}
