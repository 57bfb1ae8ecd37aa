package result

import (
	"masspay/gate"
	"masspay/payout"
)

// The values of result.action: what a person should do.
const (
	ActionNothing = "nothing"
	ActionWait    = "wait"
	ActionFix     = "fix row"
	ActionNewID   = "new id"
	ActionCheck   = "check first"
	ActionNever   = "never pay again"
)

// Actions lists them.
var Actions = []string{ActionNothing, ActionWait, ActionFix, ActionNewID, ActionCheck, ActionNever}

// Action is result.action of a payout.
func Action(p payout.Payout) string {
	if p.NeedsCheck() || p.Stuck() {
		return ActionCheck
	}
	if p.MayHaveArrived() {
		return ActionCheck
	}
	if p.Resolution.As == payout.StateDeclined && p.State == payout.StateDeclined {
		return ActionNewID
	}
	switch p.State {
	case payout.StatePaid, payout.StateCancelled:
		return ActionNothing
	case payout.StatePartial, payout.StateReturned:
		if p.Reviewable() {
			return ActionCheck
		}
		return ActionNothing
	case payout.StateDeclined, payout.StateRejected:
		return afterRefusal(gate.GroupOf(p.Reported.Code))
	}
	if p.Reported.AwaitsClarification() || p.State != payout.StateNew && gate.GroupOf(p.Reported.Code) == gate.GroupCheck && p.Reported.Code != gate.CodeNotFound {
		return ActionCheck
	}
	return ActionWait
}

func afterRefusal(g gate.Group) string {
	switch g {
	case gate.GroupFixRow, gate.GroupFixRequest:
		return ActionFix
	case gate.GroupNever:
		return ActionNever
	case gate.GroupCheck, gate.GroupWait, gate.GroupDuplicate:
		return ActionCheck
	}
	return ActionNewID
}
