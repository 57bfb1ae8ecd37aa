package bolt

import (
	"context"
	"slices"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// putException keeps whether a payout is an exception, under its number.
func putException(b *bbolt.Bucket, number []byte, is payout.Exception) error {
	if is == payout.NoException {
		return b.Delete(number)
	}
	return b.Put(number, []byte{byte(is)})
}

// scanExceptions reads one burst of a filter's exceptions in load order.
func (s *Store) scanExceptions(ctx context.Context, f store.Filter, from []byte) (out []payout.History, next []byte, err error) {
	w, err := s.want(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketExceptions).Cursor()
		read := 0
		for k, v := c.Seek(from); k != nil; k, v = c.Next() {
			if read++; burstIsFull(f, read, len(out)) {
				next = slices.Clone(k)
				return nil
			}
			if string(v) != string([]byte{byte(f.Exception)}) {
				continue
			}
			rec, err := full(tx, number(k), f.Events)
			if err != nil {
				return err
			}
			if w.has(rec.Payout) {
				out = append(out, rec)
			}
		}
		return nil
	})
	return out, next, err
}

// exceptions holds the index against the payouts.
func (x *examining) exceptions() {
	x.each(bucketExceptions, func(k, v []byte) {
		r, err := get(x.tx, number(k))
		if err != nil || len(v) != 1 || r.Exception() != payout.Exception(v[0]) {
			x.Add("the index of exceptions leads to payout number %d wrongly", number(k))
		}
	})
}

// listed makes sure that an exception is in the index.
func (x *examining) listed(r codec.Record) {
	if r.Exception() != payout.NoException && !x.has(bucketExceptions, be64(r.Number)) {
		x.Add("payout %s is an exception and missing from the index", r.Key)
	}
}
