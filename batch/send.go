package batch

import (
	"context"
	"fmt"
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
	draft := composer.Draft(c.Key, c.Cells).OnLeave(leave)
	var wait backoff.BackOff // made when it is needed, which is seldom
	var a, throttled gate.Answer
	var started time.Time
	for ctx.Err() == nil && !r.state.isHalted() {
		started = time.Now()
		a = r.Gate.Send(ctx, draft, r.Timeout)
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
				r.notify("%s; trying again", a.Message)
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

// judge draws the conclusions for the run from one answer.
func (r *running) judge(key payout.Key, a gate.Answer, started time.Time) {
	switch {
	case a.Cancelled, a == (gate.Answer{}):
		return
	case !a.Paused.IsZero():
		r.streak.pauseUntil(a.Paused)
		return
	case a.Sent && a.Retry == 0 && !a.Proven && !r.state.isProven():
		return // the first answer of what may be no gate: see probe
	case a.Fenced:
		r.halt(&r.out.Fenced, a.Message+"; sending stopped")
		r.state.end()
	case a.Stop && a.Kind == payout.Doubtful:
		r.stop(&r.out.Refused, fmt.Sprintf("HTTP %d (%s) came back, which does not say whether the gate has seen the request: a filter before it or behind it; sending stopped", a.HTTPStatus, a.Message))
	case a.Stop:
		r.stop(&r.out.Refused, fmt.Sprintf("the gate refuses the project or its secret (HTTP %d, code %s: %s); that payout was not paid; sending stopped", a.HTTPStatus, orNone(a.Code), a.Message))
	case a.NoMoney:
		r.budget.add(key, r.Attempts, r.Attempts)
		r.stop(&r.out.NoMoney, fmt.Sprintf("the balance with the platform does not cover %s (code %s: %s); it was not paid; sending stopped", key.PaymentID, a.Code, a.Message))
	}
	if n := r.streak.count(a, started); r.MaxRefusals > 0 && n >= r.MaxRefusals {
		r.stop(&r.out.SameFailures, fmt.Sprintf("%d payouts in a row %s; sending stopped", n, sameFailures(a)))
	}
}

// sameFailures says in words what many answers have in common.
func sameFailures(a gate.Answer) string {
	said := answerText(a)
	switch {
	case a.Kind == payout.Refused:
		return "were refused in the same way (" + said + ")"
	case a.Kind == payout.Doubtful:
		return "got no usable answer (" + said + ") and may be paid or not"
	case !a.Sent:
		return "could not be sent (" + said + ")"
	}
	return "were turned away in the same way (" + said + ")"
}

// answerText is what an answer said: with its status line and code, where there was one.
func answerText(a gate.Answer) string {
	if a.HTTPStatus == 0 {
		return a.Message
	}
	return fmt.Sprintf("HTTP %d, code %s: %s", a.HTTPStatus, orNone(a.Code), a.Message)
}

func orNone(code string) string {
	if code == "" {
		return "none"
	}
	return code
}

// composers keeps one composer for each method of the batch.
type composers struct {
	mu       sync.Mutex
	byMethod map[string]*gate.Composer
}

func (c *composers) of(row *store.Claimed) (*gate.Composer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.byMethod[row.Method]; k != nil {
		return k, nil
	}
	k, err := gate.NewComposer(row.Method, row.Columns)
	if err != nil {
		return nil, err
	}
	if c.byMethod == nil {
		c.byMethod = map[string]*gate.Composer{}
	}
	c.byMethod[row.Method] = k
	return k, nil
}
