package bolt

import (
	"context"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
)

// RetryBar returns the payout that a retry must wait for; see store.Store.
func (s *Store) RetryBar(ctx context.Context, key payout.Key, amount payout.Amount, payee string) (by payout.Payout, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		by, err = s.writer(tx).retryBar(key, amount, payee)
		return err
	})
	return by, err
}

// retryBar looks for the payouts that the id of a retry names: the first and those
// between. One for the same payee and amount that bars it is returned, else one with
// Number 0.
func (w *writer) retryBar(key payout.Key, amount payout.Amount, payee string) (none payout.Payout, err error) {
	first, n, ok := payout.RetryOf(key.PaymentID)
	if !ok {
		return none, nil
	}
	id := first
	for i := 1; i < n; i++ {
		if i > 1 {
			id = payout.RetryID(first, i)
		}
		number, err := w.find(w.s.DigestID(payout.Key{ProjectID: key.ProjectID, PaymentID: id}))
		if err != nil {
			return none, err
		}
		if number == 0 {
			continue
		}
		r, err := w.get(number)
		if err != nil {
			return none, err
		}
		if r.Amount != amount || len(r.Places) == 0 || !r.BarsRetry(w.s.o.Rules) {
			continue
		}
		header, err := w.header(r.Places[0].Batch)
		if err != nil {
			return none, err
		}
		cells, err := w.cells(r.Payout, r.Places[0])
		if err != nil {
			return none, err
		}
		if payout.Payee(header.Columns, cells) == payee {
			return r.Payout, nil
		}
	}
	return none, nil
}

// retryRow refuses a row that pays once more what may be paid.
func (l *load) retryRow(w *writer, row store.Row) error {
	if _, _, ok := payout.RetryOf(row.Key.PaymentID); !ok {
		return nil
	}
	by, err := w.retryBar(row.Key, row.Amount, payout.Payee(l.b.Columns, row.Cells))
	if err == nil && by.Number != 0 {
		err = &store.RetryError{Row: row, By: by}
	}
	return err
}
