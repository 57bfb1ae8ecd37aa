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

// Verdicts are how many payouts of a batch have an outcome, and how many of these are
// declined or rejected.
type Verdicts struct{ All, Bad int }

// VerdictsOf counts the verdicts of a batch.
func VerdictsOf(counts []store.Count) (v Verdicts) {
	for _, c := range counts {
		switch c.State {
		case payout.StateDeclined, payout.StateRejected:
			v.Bad += c.N
			v.All += c.N
		case payout.StatePaid, payout.StatePartial, payout.StateReturned:
			v.All += c.N
		}
	}
	return v
}

// trips says why a batch is to be held, "" where it is not: by what came since a person let
// it go, or since the run began.
func (k Breaker) trips(now, since Verdicts) string {
	verdicts, bad := now.All-since.All, now.Bad-since.Bad
	if k.DeclinedPercent <= 0 {
		return ""
	}
	if verdicts == 0 || verdicts < k.DeclinedLeast || bad*100 <= verdicts*k.DeclinedPercent {
		return ""
	}
	return fmt.Sprintf("%s of %s verdicts are declined or rejected, more than %d %% (breakers.declined_percent)", payout.FormatNumber(bad), payout.FormatNumber(verdicts), k.DeclinedPercent)
}

// through is a claim of this run, for a hold to let through.
func (r *running) through() store.Claim { return store.Claim{Through: r.Canary.token} }

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
		if b.Held.Lasting() && b.Held.Bars(r.through()) {
			r.isHeld(*b.Held)
			continue
		}
		if why := r.Breaker.trips(VerdictsOf(b.Counts), r.counted(b)); why != "" {
			if err := unlessBusy(r.Store.Hold(ctx, r.batch, store.Hold{Kind: store.HeldByBreaker, Reason: why, By: r.By, At: time.Now().UTC()})); err != nil {
				return err
			}
		}
	}
}

// counted is from where on the breaker counts.
func (r *running) counted(b store.Batch) Verdicts {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since == nil {
		now := VerdictsOf(b.Counts)
		r.since = &now
	}
	return *r.since
}

// begins notes from where on the breaker counts.
func (r *running) begins(b store.Batch) {
	now := VerdictsOf(b.Counts)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = &now
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
		if r.canary.failed {
			r.canary.N = 0 // a person has looked
		}
		if err := r.beginCanary(ctx, true); err != nil {
			return unlessDone(ctx, err)
		}
		if !r.state.resume() {
			return nil
		}
		r.pausedBy.Store(nil)
		r.notify("the batch is let go: sending goes on")
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
		if !r.state.isPaused() {
			return false // it was stopped for good meanwhile
		}
		b, err := r.Store.Batch(ctx, r.batch)
		if err == nil && b.Held == nil && (r.Until.IsZero() || time.Now().Before(r.Until)) {
			r.begins(b)
			return true
		}
	}
}
