package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// ResolveRequest is what a person wants to decide about a payout that no gate can decide.
type ResolveRequest struct {
	Key       payout.Key
	As        payout.State // StatePaid, StateDeclined (not paid), or 0: the person has seen a check
	Person    string       // as user@host
	Reason    string
	Batch     string // that it is sent by, as people name it: for hints
	AgeAnyway bool   // the last attempt need not be a day old; the quiet period must be over all the same
	Restored  bool   // the store is a copy: what the gate reports may have been sent by the lost one
}

// RefusedError says why a payout is not a person's to resolve, and what to do.
type RefusedError struct{ Why, Hint string }

func (e *RefusedError) Error() string { return e.Why }

func refuse(hint, format string, args ...any) error {
	return &RefusedError{Why: fmt.Sprintf(format, args...), Hint: hint}
}

// resolveAfter is how long after the last attempt, and after the gate's last report, a
// person may say that something was not paid.
const resolveAfter = 24 * time.Hour

// MayResolve reports why a person may not decide so, given what the gate has just said;
// nil: the person may.
func (r ResolveRequest) MayResolve(rec payout.History, heard PollAnswer, quiet time.Duration, now time.Time, tick payout.Tick) error {
	p := rec.Payout
	ofAnother, lost := p.OfAnother(), r.mayBeOfLost(p)
	if lost {
		ofAnother = false
	}
	switch {
	case p.State == payout.StateSending:
		return refuse("wait for its answer, or end the run", "a run is sending it at this moment")
	case r.As == 0 && p.OfAnother() && p.State.Open():
		return refuse("--as not-paid, when you know whose payment it is; then the row can be paid under a new id",
			"it has no outcome and will get none: what the gate has under this id is not this row's payment (%s)", p.Field)
	case r.As == 0:
		if !p.NeedsCheck() && !p.Reviewable() {
			return refuse("masspay show "+result.ShellWord(p.Key.PaymentID)+" shows what is known of it", "it is %s, and there is nothing to check", result.StateOf(p))
		}
		return nil
	case !p.State.Open() && !p.NeedsCheck():
		return refuse("masspay show "+result.ShellWord(p.Key.PaymentID)+" shows what is known of it", "it is %s already: there is nothing to resolve", result.StateOf(p))
	case p.Cancellable():
		return refuse("the next run sends it; if it is not to be sent: masspay cancel "+r.Batch+" --row="+result.ShellWord(p.Key.PaymentID), "it is not paid, and no request for it is open")
	case lost && r.As == payout.StateDeclined && reportedArrived(rec, heard):
		return refuse("ask the platform whose payment it is. If it is this row's: --as paid. If it is another's, leave this row as it is, and put the payment into a new file under a new id",
			"the store is a restored copy, and the gate reports a payment under this id: the lost store may have sent it")
	case p.State == payout.StateNew && !p.OfAnother() && r.As == payout.StatePaid:
		return refuse("the next run sends it; if it is not to be sent any more: --as not-paid", "the gate has no such payment: it was not paid")
	case r.As == payout.StatePaid && ofAnother && p.State.Open():
		return refuse("--as not-paid, if it is to be paid under a new id", "what the gate has under this id is not this row's payment (%s): as far as the gate knows, this row was not paid", p.Field)
	case r.As == payout.StateDeclined && arrived(heard.Outcome) && !p.OfAnother():
		return refuse("--as seen closes a check", "the gate reports that it is %s: it cannot be not paid", result.StateName(heard.Outcome))
	case r.As == payout.StateDeclined && !p.State.Open() && !p.OfAnother() && !takenBack(p):
		return refuse("--as seen closes the check", "the gate reports that it is %s: it cannot be not paid", result.StateName(p.State))
	case r.As == payout.StatePaid:
		return nil
	}
	if err := mayBeUnpaid(p, ofAnother, heard, now); err != nil {
		return err
	}
	if p.State == payout.StateNew && !p.Bound() && p.Tries == 0 {
		return nil // nothing of it was ever sent, by this store or by a lost one
	}
	err := r.oldEnough(p, quiet, now, tick)
	var early *RefusedError
	if p.State == payout.StateNew && errors.As(err, &early) {
		early.Hint += "; until then the next run sends it"
	}
	return err
}

// arrived reports whether an outcome means that money was sent.
func arrived(s payout.State) bool {
	return s == payout.StatePaid || s == payout.StatePartial || s == payout.StateReturned
}

// takenBack reports whether the last that the gate said of a payout is no outcome: a
// status that a person must read, or that it does not know the payment.
func takenBack(p payout.Payout) bool {
	return p.Flags&payout.Vanished != 0 || p.Flags&payout.OddStatus != 0 && slices.Contains(p.OddStatuses, p.Reported.Status)
}

// mayBeOfLost reports whether what the gate has under the id of an open payout may be
// what the lost store sent for this row: it does not say enough to tell.
func (r ResolveRequest) mayBeOfLost(p payout.Payout) bool {
	return (r.Restored || p.Epoch != 0) && p.State.Open() && p.OfAnother() && p.Flags&payout.NotOurs == 0
}

// reportedArrived reports whether the gate says now, or has ever said, that money was
// sent under the id, whoever's payment it was.
func reportedArrived(rec payout.History, heard PollAnswer) bool {
	return arrived(heard.Outcome) || slices.ContainsFunc(rec.Events, func(e payout.Event) bool {
		return e.Report() && e.Kind == payout.Final && arrived(e.Outcome)
	})
}

// mayBeUnpaid refuses "not paid" where the gate may still pay.
func mayBeUnpaid(p payout.Payout, ofAnother bool, heard PollAnswer, now time.Time) error {
	accepted := p.AcceptedAttempt != 0 || p.State == payout.StateAccepted
	switch {
	case ofAnother && (p.State == payout.StateNew || p.Unproven && p.AcceptedAttempt == 0):
		return nil // nothing of ours can have been paid: the id was taken before
	case heard.Undecided != "":
		return refuse("masspay reconcile later", "the gate did not say what became of it (%s): it may have paid it", heard.Undecided)
	case p.Flags&payout.Ended != 0, takenBack(p), heard.Outcome == payout.StateDeclined:
		return nil
	case heard.Unreachable != "" && accepted && now.Sub(p.ReportedAt) < resolveAfter:
		return refuse("masspay reconcile later", "the gate had accepted it, was heard less than a day ago, and cannot say now what became of it (%s): it may pay it yet", heard.Unreachable)
	case heard.NotSeen, heard.Unreachable != "":
		return nil
	}
	return refuse("masspay reconcile later", "the gate knows it and has not decided (%s): it may pay it yet", cmp.Or(p.Reported.Status, "accepted"))
}

// oldEnough refuses before the quiet period is over, measured on the clock that cannot
// be set where that is possible, and before the last attempt is a day old.
func (r ResolveRequest) oldEnough(p payout.Payout, quiet time.Duration, now time.Time, tick payout.Tick) error {
	age := now.Sub(p.EndedAt)
	if measured, ok := tick.Since(p.EndedTick); ok {
		age = measured
	} else if age < 0 { // by a clock that was set
		if age = 0; p.EndedTick.Boot != 0 {
			age = tick.At // it ended before the machine was started
		}
	}
	if age < quiet {
		return refuse("the same command after that", "the quiet period of %v after its last attempt is not over (until %s), and after it a day must have passed: the request may still arrive", quiet, now.Add(quiet-age).Local().Format("15:04 on 2 January"))
	}
	if age < resolveAfter && !r.AgeAnyway {
		return refuse("the same command after that; --age-anyway does not wait for the day, and is recorded", "its last attempt is less than a day old (until %s)", now.Add(resolveAfter-age).Local().Format("15:04 on 2 January"))
	}
	return nil
}

// ErrNotResolved says that the payout changed meanwhile; nothing was decided.
var ErrNotResolved = errors.New("the payout changed meanwhile")

// Apply records the decision, with who and why, for ever, if the payout is as the
// person looked at it; else it returns ErrNotResolved.
func (r ResolveRequest) Apply(ctx context.Context, s store.Store, looked payout.Payout) (payout.Payout, error) {
	reason := r.Reason
	if r.AgeAnyway {
		reason += " (--age-anyway)"
	}
	changes, err := s.Apply(ctx, payout.Event{
		Key: r.Key, Kind: payout.Resolved, Source: payout.FromPerson, At: time.Now(), Tick: s.Tick(),
		Outcome: r.As, Person: r.Person, Reason: reason, Version: looked.Version(),
	})
	if err != nil {
		return payout.Payout{}, err
	}
	if changes[0].Effect != payout.Changed {
		return changes[0].After, ErrNotResolved
	}
	return changes[0].After, nil
}
