package batch

import (
	"context"
	"time"

	"masspay/payout"
	"masspay/store"
)

// cancelledAtOnce is how many payouts share one commit.
const cancelledAtOnce = 5_000

// CancelResult says what Cancel did.
type CancelResult struct {
	Done      int // payouts that were cancelled
	Shared    int // left, because another batch asks for them too
	Attempted int // left open, because they may have become a payment
}

// CancelRequest says what to cancel.
type CancelRequest struct {
	Batch  string // id
	Row    string // payment_id of one row; empty: all
	Shared bool   // also what other batches ask for: they lose it too
	Person string // who says so, as user@host
}

// Cancel cancels the payouts of a batch of which nothing can have become a payment;
// see payout.Cancellable. A payout that another batch asks for too is cancelled only
// with Shared, because that batch loses it as well.
func Cancel(ctx context.Context, s store.Store, what CancelRequest) (c CancelResult, err error) {
	var events []payout.Event
	apply := func() error {
		changes, err := s.Apply(ctx, events...)
		for _, change := range changes {
			if change.Effect == payout.Changed {
				c.Done++
			}
		}
		events = events[:0]
		return err
	}
	for rec, err := range s.List(ctx, store.Filter{Batch: what.Batch, States: []payout.State{payout.StateNew}}) {
		if err != nil {
			return c, err
		}
		if what.Row != "" && rec.Key.PaymentID != what.Row {
			continue
		}
		if len(rec.Places) > 1 && !what.Shared {
			c.Shared++
			continue
		}
		events = append(events, payout.Event{Key: rec.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now(), Person: what.Person})
		if len(events) == cancelledAtOnce {
			if err := apply(); err != nil {
				return c, err
			}
		}
	}
	if err := apply(); err != nil {
		return c, err
	}
	if what.Row != "" {
		return c, nil
	}
	b, err := s.Batch(ctx, what.Batch)
	c.Attempted = b.Open() - c.Shared
	return c, err
}
