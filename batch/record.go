package batch

import (
	"context"
	"fmt"
	"time"

	"masspay/payout"
	"masspay/store"
)

// What came back is gathered for so long before one commit writes it, unless nothing else
// is under way. What is gathered when the process dies is in doubt.
const gatherFor = 20 * time.Millisecond

// recorder writes what came of claims. It goes on after the run's context has ended: what
// the gate said is not to be lost.
type recorder struct {
	*store.Committer
	run    *running
	abort  func() // stops the sending, when the store cannot write
	failed error  // of whoever runs the committer
}

func (r *running) recorder(abort func()) *recorder {
	rec := &recorder{run: r, abort: abort}
	rec.Committer = store.NewCommitter(patientStore{r}, func(n int) time.Duration {
		if n >= r.state.inFlight() {
			return 0
		}
		return gatherFor
	})
	return rec
}

// wrote notes what one event did.
func (rec *recorder) wrote(e *payout.Event, c *store.Change, err error) {
	r := rec.run
	switch {
	case err != nil && rec.failed == nil:
		rec.failed = err
		rec.abort()
	case err == nil:
		r.learned(e, c)
	}
	r.state.recorded()
}

// err says what could not be written.
func (rec *recorder) err() error {
	if rec.failed == nil {
		return nil
	}
	return fmt.Errorf("what the gate answered could not be written (the payouts are in doubt, the next run asks the gate): %w", rec.failed)
}

// learned takes note of what an event of this run did.
func (r *running) learned(e *payout.Event, c *store.Change) {
	if e.Tries > 0 {
		r.now.Add(c.After.Number)
	}
	if c.Freed() {
		r.state.free()
	}
}

// patientStore waits for a store that is busy.
type patientStore struct{ r *running }

func (s patientStore) Apply(ctx context.Context, events ...payout.Event) ([]store.Change, error) {
	return patiently(ctx, s.r.Notify, func(ctx context.Context) ([]store.Change, error) {
		return s.r.Store.Apply(ctx, events...)
	})
}
