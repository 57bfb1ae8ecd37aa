package batch

import (
	"context"
	"fmt"
	"time"

	"masspay/payout"
	"masspay/store"
)

// Breaker says when so much goes wrong that nothing more is sent before a person has
// looked. The zero value never trips.
type Breaker struct {
	DeclinedPercent int  // of the verdicts; more hold the batch. 0: they do not
	DeclinedLeast   int  // verdicts that there must be before that
	Hold            bool // what stops a run for a reason that concerns all holds the batch, too, until a person lets it go
}

// trips says why a batch is to be held, "" where it is not.
func (k Breaker) trips(counts []store.Count) string {
	if k.DeclinedPercent <= 0 {
		return ""
	}
	verdicts, bad := 0, 0
	for _, c := range counts {
		switch c.State {
		case payout.StateDeclined, payout.StateRejected:
			bad += c.N
			verdicts += c.N
		case payout.StatePaid, payout.StatePartial, payout.StateReturned:
			verdicts += c.N
		}
	}
	if verdicts == 0 || verdicts < k.DeclinedLeast || bad*100 <= verdicts*k.DeclinedPercent {
		return ""
	}
	return fmt.Sprintf("%s of %s verdicts are declined or rejected, more than %d %% (breakers.declined_percent)", payout.FormatNumber(bad), payout.FormatNumber(verdicts), k.DeclinedPercent)
}

// watch looks again and again whether sending is to stop: because a person holds the
// batch, too much goes wrong, or the time is over. It returns when the context ends.
func (r *running) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		r.endInTime()
		if r.state.isHalted() {
			continue
		}
		b, err := r.Store.Batch(ctx, r.batch)
		if err != nil {
			if err := unlessBusy(err); err != nil {
				return err
			}
			continue
		}
		if b.Held.Lasting() {
			r.isHeld(*b.Held)
			continue
		}
		if why := r.Breaker.trips(b.Counts); why != "" {
			if err := unlessBusy(r.Store.Hold(ctx, r.batch, store.Hold{Kind: store.HeldByBreaker, Reason: why, By: r.By, At: time.Now().UTC()})); err != nil {
				return err
			}
		}
	}
}

// endInTime stops the sending when it is to end.
func (r *running) endInTime() {
	if !r.Until.IsZero() && !time.Now().Before(r.Until) {
		r.halt(&r.out.Late, "it is "+r.Until.Format("15:04")+", and sending ends for now")
	}
}

// isHeld stops the sending of a batch that is held: for the rest of the run, or until a
// person lets it go.
func (r *running) isHeld(h store.Hold) {
	text := "the batch is " + (&store.HeldError{Hold: h}).Error()
	if !h.Lasting() {
		r.halt(&r.out.Held, text)
		return
	}
	if r.state.pause() {
		r.notify("%s; nothing more of it is sent", text)
		r.pausedBy.Store(&text)
		if r.Stopped != nil {
			r.Stopped()
		}
	}
}

// submitUnlessHeld sends the batch, and goes on when a person lets it go that was held.
func (r *running) submitUnlessHeld(ctx context.Context) error {
	for {
		if err := r.submit(ctx, r.state.untilHalted()); err != nil {
			return err
		}
		if !r.state.isPaused() || !r.letGo(ctx) {
			return nil
		}
		r.notify("the batch is let go: sending goes on")
		r.pausedBy.Store(nil)
		r.state.resume()
	}
}

// letGo waits until the batch is not held any more. false: the context ended before.
func (r *running) letGo(ctx context.Context) bool {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		b, err := r.Store.Batch(ctx, r.batch)
		if err == nil && b.Held == nil && (r.Until.IsZero() || time.Now().Before(r.Until)) {
			return true
		}
	}
}
