package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"masspay/store"
	"masspay/store/codec"
)

// Approve keeps approvals with a batch; see store.Store.
func (s *Store) Approve(ctx context.Context, batch string, approvals ...store.Approval) error {
	header, err := s.header(ctx, batch)
	if err != nil {
		return err
	}
	return s.update(ctx, func(tx *bbolt.Tx) error {
		had, err := approvalsOf(tx, header)
		if err != nil {
			return err
		}
		fresh, err := store.NewApprovals(had, approvals)
		if err != nil || len(fresh) == 0 {
			return err
		}
		for i, a := range fresh {
			key := pair32(header.Number, uint32(len(had)+i))
			text, err := json.Marshal(a)
			if err != nil {
				return err
			}
			if err := tx.Bucket(bucketApprovals).Put(key, codec.Summed(key, text)); err != nil {
				return err
			}
		}
		return note(tx, store.ApprovedEntry(header, fresh, s.o.now()).By(s.begun()))
	})
}

// approvalsOf are all approvals of a batch: those that it was loaded with, and later ones.
func approvalsOf(tx *bbolt.Tx, header store.Batch) ([]store.Approval, error) {
	all := header.Approvals[:len(header.Approvals):len(header.Approvals)]
	prefix := be32(header.Number)
	c := tx.Bucket(bucketApprovals).Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		text, err := codec.Plain("approval", k, v)
		if err != nil {
			return nil, err
		}
		var a store.Approval
		if err := json.Unmarshal(text, &a); err != nil {
			return nil, fmt.Errorf("%w: approval: %w", store.ErrDamaged, err)
		}
		all = append(all, a)
	}
	return all, nil
}
