package batch

import (
	"context"
	"time"

	"masspay/payout"
	"masspay/store"
)

// cancelledAtOnce is how many payouts share one commit.
const cancelledAtOnce = 5_000

// Cancelling says what Cancel did.
type Cancelling struct {
	Done      int // payouts given up
	Shared    int // left, because another batch asks for them too
	Attempted int // left open, because they were attempted
}

// Cancel gives up the payouts of a batch of which no attempt was ever made. A
// payout that another batch asks for too is given up only with shared, because
// that batch loses it as well.
func Cancel(ctx context.Context, s store.Store, batch string, shared bool) (c Cancelling, err error) {
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
	for rec, err := range s.List(ctx, store.Filter{Batch: batch, States: []payout.State{payout.StateNew}}) {
		if err != nil {
			return c, err
		}
		if len(rec.Places) > 1 && !shared {
			c.Shared++
			continue
		}
		events = append(events, payout.Event{Key: rec.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
		if len(events) == cancelledAtOnce {
			if err := apply(); err != nil {
				return c, err
			}
		}
	}
	if err := apply(); err != nil {
		return c, err
	}
	b, err := s.Batch(ctx, batch)
	c.Attempted = b.Open() - c.Shared
	return c, err
}
