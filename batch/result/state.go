package result

import (
	"masspay/payout"
)

// The values of result.state, as finance reads them.
const (
	StatePaid      = "paid"
	StatePartly    = "partly paid"
	StateDeclined  = "declined"
	StateRejected  = "rejected"
	StateReturned  = "returned"
	StateOpen      = "open"
	StateCheck     = "check"
	StateSkipped   = "skipped"
	StateCancelled = "cancelled"
)

// States lists them in the order in which a summary shows them.
var States = []string{
	StatePaid, StatePartly, StateDeclined, StateRejected, StateReturned,
	StateOpen, StateCheck, StateSkipped, StateCancelled,
}

var stateNames = map[payout.State]string{
	payout.StateNew: StateOpen, payout.StateSending: StateOpen, payout.StateUnknown: StateOpen, payout.StateAccepted: StateOpen,
	payout.StatePaid: StatePaid, payout.StatePartial: StatePartly, payout.StateDeclined: StateDeclined,
	payout.StateRejected: StateRejected, payout.StateReturned: StateReturned, payout.StateCancelled: StateCancelled,
}

// StateName is result.state of a payout state that no check overrules.
func StateName(s payout.State) string { return stateNames[s] }

// StateOf is result.state of a payout.
func StateOf(p payout.Payout) string {
	if p.NeedsCheck() {
		return StateCheck
	}
	return stateNames[p.State]
}

// DescribeState is what a person must know of a payout before it is paid once more.
func DescribeState(p payout.Payout) string {
	switch {
	case Action(p) == ActionNever:
		return "refused for fraud or compliance"
	case Action(p) == ActionCheck && !p.State.Open() && !p.NeedsCheck():
		return StateOf(p) + " in a way that a person must look at first"
	case p.State == payout.StateNew && !p.NeedsCheck():
		return "not sent yet and will be"
	case StateOf(p) == StateOpen:
		return "open and may be paid"
	case StateOf(p) == StateCheck:
		return "to be checked by a person"
	}
	return StateOf(p)
}
