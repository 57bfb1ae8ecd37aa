package bolt

import (
	"context"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"

	"masspay/store"
)

// Audit streams the audit log; see store.Store.
func (s *Store) Audit(ctx context.Context, from uint64) iter.Seq2[store.Link, error] {
	return streamFrom(ctx, s, bucketAudit, be64(from), func(_ *bbolt.Tx, k, v []byte) (store.Link, error) { return readLink(k, v) })
}

// Head is the last entry of the audit log; see store.Store.
func (s *Store) Head(ctx context.Context) (l store.Link, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		l, err = head(tx)
		return err
	})
	return l, err
}

// Note adds an act to the audit log; see store.Store.
func (s *Store) Note(ctx context.Context, e store.Entry) (l store.Link, err error) {
	err = s.update(ctx, func(tx *bbolt.Tx) error {
		if err := note(tx, e.By(s.begun())); err != nil {
			return err
		}
		l, err = head(tx)
		return err
	})
	return l, err
}

// note adds an entry in the transaction of what it tells of.
func note(tx *bbolt.Tx, e store.Entry) error {
	before, err := head(tx)
	if err != nil {
		return err
	}
	l, err := before.Next(e)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketAudit).Put(be64(l.Seq), append(l.Hash[:], l.Text...))
}

// head is the last entry. Its bytes live as long as the caller likes.
func head(tx *bbolt.Tx) (store.Link, error) {
	k, v := tx.Bucket(bucketAudit).Cursor().Last()
	if k == nil {
		return store.Link{}, nil
	}
	return readLink(k, v)
}

func readLink(k, v []byte) (l store.Link, err error) {
	if len(k) != 8 || len(v) <= len(l.Hash) {
		return l, fmt.Errorf("%w: an entry of the audit log has %d bytes", store.ErrDamaged, len(v))
	}
	text := append([]byte(nil), v[len(l.Hash):]...)
	return store.Link{Seq: number(k), Hash: store.Hash(v[:len(l.Hash)]), Text: text}, nil
}

// audit holds the log against itself.
func (x *examining) audit() {
	var before store.Link
	x.each(bucketAudit, func(k, v []byte) {
		l, err := readLink(k, v)
		if err == nil {
			_, err = l.Follows(before)
		}
		if err != nil {
			x.Add("the audit log: %v", err)
		}
		before = l
	})
	if k, _ := x.tx.Bucket(bucketRuns).Cursor().Last(); k != nil && before.Seq == 0 {
		x.Add("the audit log is empty, and runs are known")
	}
}
