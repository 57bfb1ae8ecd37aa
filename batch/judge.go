package batch

import (
	"fmt"
	"time"

	"masspay/gate"
	"masspay/payout"
)

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
