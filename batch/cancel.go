package batch

import (
	"context"
	"time"

	"masspay/payout"
	"masspay/store"
)

// cancelledAtOnce is how many payouts share one commit.
const cancelledAtOnce = 5_000

// Cancel gives up the payouts of a batch of which no attempt was ever made. It
// returns how many, and how many open ones had to be left.
func Cancel(ctx context.Context, s store.Store, batch string) (done, left int, err error) {
	var events []payout.Event
	apply := func() error {
		changes, err := s.Apply(ctx, events...)
		for _, c := range changes {
			if c.Effect == payout.Changed {
				done++
			}
		}
		events = events[:0]
		return err
	}
	for rec, err := range s.List(ctx, store.Filter{Batch: batch, States: []payout.State{payout.StateNew}}) {
		if err != nil {
			return done, 0, err
		}
		events = append(events, payout.Event{Key: rec.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
		if len(events) == cancelledAtOnce {
			if err := apply(); err != nil {
				return done, 0, err
			}
		}
	}
	if err := apply(); err != nil {
		return done, 0, err
	}
	b, err := s.Batch(ctx, batch)
	return done, b.Open(), err
}
