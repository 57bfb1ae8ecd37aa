package batch

import (
	"context"
	"sync"
	"time"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"

	"github.com/cenkalti/backoff/v4"
)

// send makes what is to be made of one claimed payout: at most one attempt that
// may have become a payment. Only attempts that were not sent are repeated.
func (r *running) send(ctx context.Context, c *store.Claimed) (payout.Event, gate.Answer) {
	e := payout.Event{
		Key: c.Key, Number: c.Number, Source: payout.FromRun, Attempt: c.Attempt, Host: r.Gate.Identity(), Kind: payout.Released,
	}
	leave := sync.OnceFunc(r.state.goes)
	defer leave()
	composer, err := r.composers.of(c)
	if err != nil {
		e.Message, e.At, e.Tick = err.Error(), time.Now(), r.Store.Tick()
		r.budget.add(c.Key, r.Attempts, r.Attempts)
		return e, gate.Answer{}
	}
	var left time.Time // by then it has waited for its turn
	draft := composer.Draft(c.Key, c.Cells).OnLeave(func() { left = time.Now(); leave() })
	var wait backoff.BackOff // made when it is needed, which is seldom
	var a, throttled gate.Answer
	var started time.Time
	for ctx.Err() == nil && !r.state.isHalted() {
		started = time.Now()
		a = r.Gate.Send(ctx, draft, r.Timeout)
		if a.Sent {
			e.Took = time.Since(left)
		}
		a.Message = payout.WithoutCells(a.Message, c.Columns, c.Cells) // it is printed, too
		if a.Sent {
			if r.state.requested(time.Now()) {
				r.notify("the gate answers again")
			}
			e.Tries++
		}
		if a.Retry > 0 {
			throttled = a
		}
		if a.Kind == payout.Unsent && !a.Sent && a.Paused.IsZero() && !a.Cancelled && !a.Fenced {
			if r.state.cannotReach(a.Message, started, time.Now()) {
				r.notify("the gate cannot be reached (%s); trying again", a.Message)
			}
		}
		if a.Kind != payout.Unsent || a.Stop || a.NoMoney || a.Cancelled || a.Fenced || !a.Paused.IsZero() {
			break
		}
		r.budget.add(c.Key, 1, r.Attempts)
		if r.budget.isSpent(c.Key) {
			break
		}
		if wait == nil {
			wait = backoff.NewExponentialBackOff(
				backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(10*time.Second), backoff.WithMaxElapsedTime(0),
			)
		}
		sleep(ctx, wait.NextBackOff())
	}
	e.At = time.Now()
	e.Reported = a.Reported
	if e.Kind = kindOf(a, e.Tries); e.Kind != payout.Accepted {
		e.Tick = r.Store.Tick() // what the gate has accepted needs none: nothing will be counted from here
	}
	if e.Kind == payout.Doubtful {
		r.budget.add(c.Key, 1, r.Attempts) // the gate may free it; not for ever
	}
	r.judge(c.Key, a, started)
	if !a.Paused.IsZero() && throttled.Retry > 0 {
		r.judge(c.Key, throttled, started) // the pause is its doing
	}
	return e, a
}

// kindOf is the event that an answer makes. Dangerous to soften: an answer that
// is none of the documented ones is Doubtful.
func kindOf(a gate.Answer, tries int) payout.Kind {
	switch {
	case tries == 0 && a == (gate.Answer{}):
		return payout.Released // never tried at all
	case tries == 0 && a.Kind == payout.Unsent && (!a.Paused.IsZero() || a.Cancelled || a.Fenced):
		return payout.Released
	case a.Kind == payout.Accepted, a.Kind == payout.Taken, a.Kind == payout.Refused, a.Kind == payout.Unsent:
		return a.Kind
	}
	return payout.Doubtful
}
