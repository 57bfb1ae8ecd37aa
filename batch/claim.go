package batch

import (
	"context"
	"errors"
	"math"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// claim hands out payouts until the context ends. When there is none it waits
// to be woken, or looks again after a while: another process may free one.
func (r *running) claim(ctx context.Context, work chan<- *store.Claimed) error {
	var p pace
	for ctx.Err() == nil {
		if r.state.isHalted() {
			if err := r.hold(ctx); err != nil {
				return err
			}
			if !r.state.isPaused() {
				<-ctx.Done()
			}
			return nil
		}
		if wait := r.streak.pausedFor(); wait > 0 {
			sleep(ctx, wait)
			continue
		}
		if !r.state.isProven() {
			if err := r.probe(ctx); err != nil {
				return unlessDone(ctx, err)
			}
			continue
		}
		gone, waiting := r.state.queue()
		p.update(time.Now(), gone)
		ahead := r.ahead(&p)
		if waiting > ahead/2 {
			await(ctx, r.state.room, recheck)
			continue
		}
		n, err := r.allow(ctx, ahead-waiting)
		if err != nil {
			return unlessDone(ctx, err)
		}
		claimed, err := r.take(ctx, n) // also none: what keeps the batch from being claimed is told
		if err != nil {
			return unlessDone(ctx, err)
		}
		if n == 0 {
			r.state.took(0)
			await(ctx, r.state.freed, lookEvery)
			continue
		}
		r.canary.claimed(claimed)
		if r.state.took(len(claimed)); len(claimed) == 0 {
			await(ctx, r.state.freed, recheck)
			continue
		}
		for i := range claimed {
			work <- &claimed[i] // senders take everything, also after the context ended
		}
	}
	return nil
}

// blocked leaves a retry alone for the rest of this run: its row may be paid already.
func (r *running) blocked(key payout.Key, by payout.Payout) {
	if r.budget.isSpent(key) {
		return
	}
	r.budget.add(key, r.Attempts, r.Attempts)
	r.notify("%s not sent: it would pay a second time what %s pays, which is %s", key.PaymentID, by.Key.PaymentID, result.StateOf(by))
}

// take claims up to n payouts. A batch that is held ends the sending, and is no error.
func (r *running) take(ctx context.Context, n int) ([]store.Claimed, error) {
	got, err := patiently(ctx, r.Notify, func(ctx context.Context) (store.Claims, error) {
		return r.Store.Claim(ctx, store.Claim{
			Batch: r.batch, N: n, Host: r.Gate.Identity(), AskFirst: r.AskFirst, Skip: r.budget.all(), Through: r.Canary.token,
		})
	})
	var held *store.HeldError
	if errors.As(err, &held) {
		r.isHeld(held.Hold)
		return nil, nil
	}
	for _, retry := range got.Blocked {
		r.blocked(retry.Key, retry.By)
	}
	return got.Payouts, err
}

// hold keeps other runs from sending the batch, if this one stopped for a reason that is
// theirs, too: they would meet the same answers.
func (r *running) hold(ctx context.Context) error {
	why := r.state.takeHoldReason()
	if why == "" {
		return nil
	}
	_, err := patiently(context.WithoutCancel(ctx), r.Notify, func(ctx context.Context) (bool, error) {
		kind := store.HeldByRun
		if r.Breaker.Hold {
			kind = store.HeldByBreaker
		}
		return true, r.Store.Hold(ctx, r.batch, store.Hold{Kind: kind, Reason: why, By: r.By, At: time.Now().UTC()})
	})
	return err
}

// The fewest and the most claims that may wait for the limiter, if its rate allows:
// a crash leaves them in doubt.
const (
	leastAhead = 64
	mostAhead  = 4096
)

// pace measures how fast claims are sent.
type pace struct {
	since time.Time
	gone  int     // when it was measured
	rate  float64 // a second, 0: not known yet
}

// update measures again, unless it did a moment ago.
func (p *pace) update(now time.Time, gone int) {
	d := now.Sub(p.since)
	if d < 50*time.Millisecond {
		return
	}
	if !p.since.IsZero() {
		p.rate = float64(gone-p.gone) / d.Seconds()
	}
	p.since, p.gone = now, gone
}

// ahead is how many claimed payouts may wait for the limiter: what leaves in
// half a second, by the rate and by what was seen, so that a crash leaves few in
// doubt and one commit serves many.
func (r *running) ahead(p *pace) int {
	ahead := max(p.rate/2, leastAhead, 4*float64(r.Workers))
	return int(min(max(math.Ceil(min(ahead, r.Rate/2)), 1), mostAhead))
}
