package bolt

import (
	"context"
	"slices"
	"strings"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
)

// A family is the payouts of one row: its first one and its retries, whose ids are the
// first one's with -r2 and so on behind it. The bucket knows what follows the
// first id in those that were loaded; it has an entry only for rows that have a retry.

// RetryBlocker returns the payout that a row must wait for; see store.Store.
func (s *Store) RetryBlocker(ctx context.Context, key payout.Key, amount payout.Amount, payee string) (blocker store.Blocker, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		blocker, err = s.writer(tx).retryBlocker(key, amount, payee)
		return err
	})
	return blocker, err
}

// Families tells which rows have a retry; see store.Store.
func (s *Store) Families(ctx context.Context) (has func(first payout.Key) bool, err error) {
	var all map[payout.Digest]bool
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		all = map[payout.Digest]bool{}
		b := tx.Bucket(bucketFamilies)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, _ []byte) error {
			if len(k) == len(payout.Digest{}) {
				all[payout.Digest(k)] = true
			}
			return nil
		})
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return func(first payout.Key) bool { return all[s.sealer.DigestID(first)] }, nil
}

// Family returns the payouts of a row; see store.Store.
func (s *Store) Family(ctx context.Context, key payout.Key) (all []payout.Payout, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		all = nil
		return s.writer(tx).family(key, func(r codec.Record) (bool, error) {
			all = append(all, r.Payout)
			return true, nil
		})
	})
	return all, err
}

// family visits the payouts of a row, the first one first.
func (w *writer) family(key payout.Key, visit func(r codec.Record) (more bool, err error)) error {
	first := payout.Key{ProjectID: key.ProjectID, PaymentID: payout.FirstOf(key.PaymentID)}
	endings := []string{""}
	if b := w.tx.Bucket(bucketFamilies); b != nil {
		id := w.s.sealer.DigestID(first)
		text, err := endingsOf(id[:], b.Get(id[:]))
		if err != nil {
			return err
		}
		endings = append(endings, text...)
	}
	for _, ending := range endings {
		number, err := w.find(w.s.sealer.DigestID(payout.Key{ProjectID: key.ProjectID, PaymentID: first.PaymentID + ending}))
		if err != nil {
			return err
		}
		if number == 0 {
			continue
		}
		r, err := w.get(number)
		if err != nil {
			return err
		}
		if more, err := visit(r); err != nil || !more {
			return err
		}
	}
	return nil
}

func endingsOf(key, v []byte) ([]string, error) {
	if v == nil {
		return nil, nil
	}
	text, err := codec.Plain("family", key, v)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(text)), nil
}

// retryBlocker looks through the other payouts of a row. One that bars it, of the same payee
// and amount, is returned, else one that would bar it if it were, else none.
func (w *writer) retryBlocker(key payout.Key, amount payout.Amount, payee string) (blocker store.Blocker, err error) {
	if _, _, retry := payout.RetryOf(key.PaymentID); !retry && !w.hasFamily(key) {
		return blocker, nil
	}
	self, err := w.waiting(key)
	if err != nil {
		return blocker, err
	}
	err = w.family(key, func(r codec.Record) (bool, error) {
		if r.Key == key || len(r.Places) == 0 || !r.BlocksRetry(w.s.o.Rules) {
			return true, nil
		}
		if self != 0 && self < r.Number && r.State == payout.StateNew && !r.OfAnother() {
			return true, nil // of two that wait, the first one goes: they must not wait for each other
		}
		header, err := w.header(r.Places[0].Batch)
		if err != nil {
			return false, err
		}
		cells, err := w.cells(r.Payout, r.Places[0])
		if err != nil {
			return false, err
		}
		same := r.Amount == amount && payout.Payee(header.Columns, cells) == payee
		if same || blocker.By.Number == 0 {
			blocker = store.Blocker{By: r.Payout, Same: same}
		}
		return !same, nil
	})
	return blocker, err
}

// waiting is the number of the payout with an id that is still to be sent, or 0.
func (w *writer) waiting(key payout.Key) (uint64, error) {
	n, err := w.find(w.s.sealer.DigestID(key))
	if err != nil || n == 0 {
		return 0, err
	}
	r, err := w.get(n)
	if err != nil || r.State != payout.StateNew {
		return 0, err
	}
	return n, nil
}

// hasFamily reports whether the row with this first id has a retry. Mostly no row has.
func (w *writer) hasFamily(first payout.Key) bool {
	if !w.lookedForFamilies {
		w.families, w.lookedForFamilies = w.tx.Bucket(bucketFamilies), true
	}
	if w.families == nil {
		return false
	}
	id := w.s.sealer.DigestID(first)
	return w.families.Get(id[:]) != nil
}

// joinFamily notes a new payout that is a retry.
func (w *writer) joinFamily(key payout.Key) error {
	first := payout.FirstOf(key.PaymentID)
	if first == key.PaymentID {
		return nil
	}
	b, err := w.tx.CreateBucketIfNotExists(bucketFamilies) // stores of before have none
	if err != nil {
		return err
	}
	w.families, w.lookedForFamilies = b, true
	id := w.s.sealer.DigestID(payout.Key{ProjectID: key.ProjectID, PaymentID: first})
	endings, err := endingsOf(id[:], b.Get(id[:]))
	if err != nil {
		return err
	}
	ending := key.PaymentID[len(first):]
	if slices.Contains(endings, ending) {
		return nil
	}
	return b.Put(id[:], codec.Summed(id[:], []byte(strings.Join(append(endings, ending), " "))))
}

// retryRow refuses a row that pays once more what may be paid.
func (l *load) retryRow(w *writer, row store.Row) error {
	blocker, err := w.retryBlocker(row.Key, row.Amount, payout.Payee(l.b.Columns, row.Cells))
	if err == nil && blocker.Same {
		err = &store.RetryError{Row: row, By: blocker.By}
	}
	return err
}
