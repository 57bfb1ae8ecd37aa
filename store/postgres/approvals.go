package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"masspay/store"
	"masspay/store/codec"
)

// Approve keeps approvals with a batch; see store.Store.
func (s *Store) Approve(ctx context.Context, batch string, approvals ...store.Approval) error {
	header, err := s.readHeader(ctx, batch)
	if err != nil {
		return err
	}
	return s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		if _, err := t.c.Exec(ctx, s.sql(`select 1 from @batches where number = $1 for no key update`), int64(header.Number)); err != nil {
			return err
		}
		is, err := s.readBatch(ctx, t.c, `b.number = $1`, int64(header.Number))
		if err != nil {
			return err
		}
		fresh, err := store.NewApprovals(is.Approvals, approvals)
		if err != nil || len(fresh) == 0 {
			return err
		}
		b := &pgx.Batch{}
		for i, a := range fresh {
			if err := s.putApproval(b, header.Number, len(is.Approvals)+i, a); err != nil {
				return err
			}
		}
		if _, err := t.note(ctx, b, store.ApprovedEntry(header, fresh, s.o.now())); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
}

func (s *Store) putApproval(b *pgx.Batch, batch uint32, seq int, a store.Approval) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	b.Queue(s.sql(`insert into @approvals (batch, seq, approval) values ($1, $2, $3)`), int64(batch), int64(seq), codec.Summed(approvalKey(batch, seq), text))
	return nil
}

func approvalKey(batch uint32, seq int) []byte {
	return append(be64(uint64(batch)), be64(uint64(seq))...)
}

// readApprovals adds the approvals that came after the loads of batches.
func (s *Store) readApprovals(ctx context.Context, q querier, all []store.Batch) error {
	at := map[int64]*store.Batch{}
	numbers := make([]int64, 0, len(all))
	for i := range all {
		at[int64(all[i].Number)] = &all[i]
		numbers = append(numbers, int64(all[i].Number))
	}
	rows, err := q.Query(ctx, s.sql(`select batch, seq, approval from @approvals where batch = any($1) order by batch, seq`), numbers)
	if err != nil {
		return err
	}
	var batch, seq int64
	var value []byte
	_, err = pgx.ForEachRow(rows, []any{&batch, &seq, &value}, func() error {
		var a store.Approval
		err := unmarshal("approval", approvalKey(uint32(batch), int(seq)), value, &a)
		b := at[batch]
		b.Approvals = append(b.Approvals[:len(b.Approvals):len(b.Approvals)], a)
		return err
	})
	return err
}
