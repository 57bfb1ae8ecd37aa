package batch

import (
	"cmp"
	"context"
	"errors"

	"masspay/payout"
	"masspay/store"
)

// PollAnswer is what the gate said when it was polled for a decision.
type PollAnswer struct {
	NotSeen     bool         // it does not know the id
	Outcome     payout.State // it reported this outcome, whatever became of the report; 0: none
	Undecided   string       // it answered as a gate does, and did not say what became of the payment
	Unreachable string       // why it could not be asked, or did not answer as a gate
}

// Poll polls the gate that a payout was sent to, and applies what it says. It returns
// the payout as it is then. To a gate that has never answered as one, no other process
// has a request under way meanwhile.
func (q *Reconciler) Poll(ctx context.Context, key payout.Key) (rec payout.History, heard PollAnswer, err error) {
	if rec, err = q.Store.Get(ctx, key); err != nil {
		return rec, heard, err
	}
	at := q
	if rec.Host != "" && !(payout.Rules{Aliases: q.Aliases}).SameGate(rec.Host, q.Gate.Identity()) {
		if at, err = q.at(rec.Host); err != nil {
			heard.Unreachable = err.Error()
			return rec, heard, nil
		}
		defer at.Gate.Close()
	}
	identity := at.Gate.Identity()
	proven, err := q.Store.Proven(ctx, identity)
	if err != nil {
		return rec, heard, err
	}
	if !proven {
		release, err := patiently(ctx, q.Notify, q.Store.Probe)
		if err != nil {
			return rec, heard, err
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	p := at.poll(ctx, rec.Payout)
	switch {
	case ctx.Err() != nil:
		return rec, heard, ctx.Err()
	case !p.paused.IsZero():
		return rec, heard, refuse("the same command after that", "the gate asked to pause until %s, so that it could not be polled", p.paused.UTC().Format("15:04:05"))
	case p.event.Kind == payout.NotSeen:
		heard.NotSeen = true
	case p.event.Kind == payout.Final:
		heard.Outcome = p.event.Outcome
	case p.event.Kind == payout.Silent && (p.alien != "" || p.unreached):
		heard.Unreachable = cmp.Or(p.alien, p.event.Message)
	case p.event.Kind == payout.Silent:
		heard.Undecided = cmp.Or(p.event.Message, "code "+orNone(p.event.Code))
	}
	if _, err := patiently(ctx, q.Notify, func(ctx context.Context) ([]store.Change, error) { return q.Store.Apply(ctx, p.event) }); err != nil {
		return rec, heard, err
	}
	if p.proves && !proven {
		if err := q.Store.Prove(ctx, identity); err != nil {
			return rec, heard, err
		}
	}
	rec, err = q.Store.Get(ctx, key)
	return rec, heard, err
}
