package bolt

import (
	"context"
	"iter"
	"slices"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
)

// List streams payouts; see store.Store.
func (s *Store) List(ctx context.Context, f store.Filter) iter.Seq2[payout.History, error] {
	return func(yield func(payout.History, error) bool) {
		scan := s.scanAll
		switch {
		case f.Exception != payout.NoException:
			scan = s.scanExceptions
		case f.Batch != "":
			scan = s.scanBatch
		}
		var from []byte
		if f.After > 0 {
			from = be64(f.After + 1)
		}
		given := 0
		for {
			var burst []payout.History
			var err error
			burst, from, err = scan(ctx, f, from)
			for _, r := range burst {
				if f.Limit > 0 && given >= f.Limit || !yield(r, nil) {
					return
				}
				given++
			}
			if err != nil {
				yield(payout.History{}, err)
				return
			}
			if from == nil || f.Limit > 0 && given >= f.Limit {
				return
			}
		}
	}
}

func (f wanted) has(p payout.Payout) bool {
	return (len(f.States) == 0 || slices.Contains(f.States, p.State)) && (f.batch == 0 || p.In(f.batch)) &&
		(f.Gate == "" || f.Others == (p.Host != "" && !f.rules.SameGate(p.Host, f.Gate)))
}

// wanted is a filter with its batch looked up.
type wanted struct {
	store.Filter
	rules payout.Rules
	batch uint32
}

func (s *Store) want(ctx context.Context, f store.Filter) (wanted, error) {
	w := wanted{Filter: f, rules: s.o.Rules}
	if f.Batch == "" {
		return w, nil
	}
	b, err := s.header(ctx, f.Batch)
	w.batch = b.Number
	return w, err
}

// burstIsFull reports whether a burst ends, after so many reads and finds.
func burstIsFull(f store.Filter, read, found int) bool {
	return read > burstReads || f.Limit > 0 && found >= f.Limit
}

// scanAll reads one burst of all payouts in load order. It returns where to go
// on, nil at the end.
func (s *Store) scanAll(ctx context.Context, f store.Filter, from []byte) (out []payout.History, next []byte, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		m, err := readMeta(tx)
		if err != nil {
			return err
		}
		c := tx.Bucket(bucketPayouts).Cursor()
		read := 0
		for k, v := c.Seek(from); k != nil; k, v = c.Next() {
			if m.loading != 0 && number(k) >= m.first {
				return nil
			}
			if read++; burstIsFull(f, read, len(out)) {
				next = slices.Clone(k)
				return nil
			}
			r, err := codec.DecodeRecord(k, v)
			if err != nil {
				return err
			}
			if !(wanted{Filter: f, rules: s.o.Rules}).has(r.Payout) {
				continue
			}
			rec, err := r.Full(f.Events)
			if err != nil {
				return err
			}
			out = append(out, rec)
		}
		return nil
	})
	return out, next, err
}

// scanBatch reads one burst of a batch's payouts in line order.
func (s *Store) scanBatch(ctx context.Context, f store.Filter, from []byte) (out []payout.History, next []byte, err error) {
	w, err := s.want(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	prefix := be32(w.batch)
	if from == nil {
		from = prefix
	}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLines).Cursor()
		read := 0
		for k, v := c.Seek(from); len(k) == 8 && string(k[:4]) == string(prefix); k, v = c.Next() {
			if read++; burstIsFull(f, read, len(out)) {
				next = slices.Clone(k)
				return nil
			}
			l, err := decodeLine(k, v)
			if err != nil {
				return err
			}
			if l.payout == 0 {
				continue
			}
			rec, err := full(tx, l.payout, f.Events)
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
