package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

// Resolving is what a person wants to decide about a payout that no gate can settle.
type Resolving struct {
	Key       payout.Key
	As        payout.State // StatePaid, StateDeclined (not paid), or 0: the person has seen a check
	Person    string       // as user@host
	Reason    string
	AgeAnyway bool // the last attempt need not be a day old; the quiet period must be over all the same
}

// RefusedError says why a payout is not a person's to resolve, and what to do.
type RefusedError struct{ Why, Hint string }

func (e *RefusedError) Error() string { return e.Why }

func refuse(hint, format string, args ...any) error {
	return &RefusedError{Why: fmt.Sprintf(format, args...), Hint: hint}
}

// The ages before a person may say that something was not paid.
const (
	resolveAfter = 24 * time.Hour // since the last attempt, and since the gate was last heard
)

// Heard is what the gate said when it was polled for a decision.
type Heard struct {
	NotSeen     bool   // it does not know the id
	Unreachable string // why it could not be asked, or did not answer as a gate
}

// Hear polls the gate that a payout was sent to, and applies what it says. It returns
// the payout as it is then.
func (q *Reconciler) Hear(ctx context.Context, key payout.Key) (payout.Record, Heard, error) {
	var heard Heard
	rec, err := q.Store.Get(ctx, key)
	if err != nil {
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
	p := at.poll(ctx, rec.Payout)
	switch {
	case ctx.Err() != nil:
		return rec, heard, ctx.Err()
	case !p.paused.IsZero():
		return rec, heard, refuse("try again after that", "the gate asked to pause until %s, so that it could not be polled", p.paused.UTC().Format("15:04:05"))
	case p.event.Kind == payout.NotSeen:
		heard.NotSeen = true
	case p.event.Kind == payout.Silent:
		heard.Unreachable = firstOf(p.alien, p.event.Message)
	}
	if _, err := patiently(ctx, q.Notify, func(ctx context.Context) ([]store.Change, error) { return q.Store.Apply(ctx, p.event) }); err != nil {
		return rec, heard, err
	}
	rec, err = q.Store.Get(ctx, key)
	return rec, heard, err
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// MayResolve reports why a person may not decide so, given what the gate has just said;
// nil: the person may. proven says whether the gate that it was sent to has ever
// answered as a gate.
func (r Resolving) MayResolve(rec payout.Record, heard Heard, proven bool, quiet time.Duration, now time.Time, tick payout.Tick) error {
	p := rec.Payout
	switch {
	case p.State == payout.StateSending:
		return refuse("wait for its answer, or end the run", "a run is sending it at this moment")
	case r.As == 0:
		if !p.NeedsCheck() {
			return refuse("", "it is %s, and there is nothing to check", Word(p))
		}
		return nil
	case !p.State.Open() && !p.NeedsCheck():
		return refuse("", "it is %s: it has its outcome, and there is nothing to check", Word(p))
	case p.State == payout.StateNew && !p.OfAnother():
		return refuse("masspay cancel BATCH --row "+p.Key.PaymentID+" frees its id if it is not to be sent", "it was not sent yet")
	case r.As == payout.StatePaid && p.State == payout.StateNew:
		return refuse("--as not-paid, if it is to be paid under a new id", "it was never sent from here, and what the gate has under this id is another payment")
	case r.As == payout.StatePaid:
		return nil
	}
	if err := r.mayBeUnpaid(rec, heard, proven, now); err != nil {
		return err
	}
	if p.Tries == 0 && p.State == payout.StateNew {
		return nil // nothing was ever sent
	}
	return r.oldEnough(p, quiet, now, tick)
}

// mayBeUnpaid refuses "not paid" where the gate may still pay.
func (r Resolving) mayBeUnpaid(rec payout.Record, heard Heard, proven bool, now time.Time) error {
	p := rec.Payout
	accepted := p.AcceptedAttempt != 0 || p.State == payout.StateAccepted
	switch {
	case p.OfAnother(), heard.NotSeen, !proven, p.Flags&(payout.Ended|payout.OddWord|payout.Vanished) != 0:
		return nil
	case heard.Unreachable != "" && !accepted:
		return nil
	case heard.Unreachable != "":
		if last := lastHeard(rec); now.Sub(last) < resolveAfter && !r.AgeAnyway {
			return refuse("masspay reconcile later; --age-anyway does not wait for the day",
				"the gate had accepted it and cannot be reached now (%s), but was heard less than a day ago: it may pay it yet", heard.Unreachable)
		}
		return nil
	}
	return refuse("masspay reconcile later", "the gate knows it and has not decided (%s): it may pay it yet", firstOf(p.GateStatus, "accepted"))
}

// lastHeard is when a gate last said anything about a payout.
func lastHeard(rec payout.Record) (at time.Time) {
	for _, e := range rec.Events {
		switch e.Source {
		case payout.FromCallback, payout.FromStatus, payout.FromRun:
			if e.Kind != payout.Claimed && e.Kind != payout.Released && e.Kind != payout.Doubtful && e.At.After(at) {
				at = e.At
			}
		case payout.FromPerson, payout.FromStore:
		}
	}
	return at
}

// oldEnough refuses before the quiet period is over, measured on the clock that nobody
// sets where that can be, and before the last attempt is a day old.
func (r Resolving) oldEnough(p payout.Payout, quiet time.Duration, now time.Time, tick payout.Tick) error {
	age := now.Sub(p.EndedAt)
	if measured, ok := tick.Since(p.EndedTick); ok {
		age = measured
	}
	if age < quiet {
		return refuse("masspay resolve again after that", "the quiet period of %v after its last attempt is not over: the request may still arrive", quiet)
	}
	if age < resolveAfter && !r.AgeAnyway {
		return refuse("masspay resolve again tomorrow; --age-anyway does not wait, and is recorded", "its last attempt is less than a day old")
	}
	return nil
}

// ErrNotResolved says that the payout changed meanwhile; nothing was decided.
var ErrNotResolved = errors.New("the payout changed meanwhile")

// Apply records the decision, with who and why, for ever.
func (r Resolving) Apply(ctx context.Context, s store.Store) (payout.Payout, error) {
	reason := r.Reason
	if r.AgeAnyway {
		reason += " (--age-anyway)"
	}
	changes, err := s.Apply(ctx, payout.Event{
		Key: r.Key, Kind: payout.Resolved, Source: payout.FromPerson, At: time.Now(), Tick: clock.Tick(),
		Outcome: r.As, Person: r.Person, Reason: reason,
	})
	if err != nil {
		return payout.Payout{}, err
	}
	if changes[0].Effect != payout.Changed {
		return changes[0].After, ErrNotResolved
	}
	return changes[0].After, nil
}
