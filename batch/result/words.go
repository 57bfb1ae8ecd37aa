package result

import (
	"strings"

	"masspay/gate"
	"masspay/payout"
)

// The words of result.state, as finance reads them.
const (
	WordPaid      = "paid"
	WordPartly    = "partly paid"
	WordDeclined  = "declined"
	WordRejected  = "rejected"
	WordReturned  = "returned"
	WordOpen      = "open"
	WordCheck     = "check"
	WordSkipped   = "skipped"
	WordCancelled = "cancelled"
)

// Words lists them in the order in which a summary shows them.
var Words = []string{
	WordPaid, WordPartly, WordDeclined, WordRejected, WordReturned,
	WordOpen, WordCheck, WordSkipped, WordCancelled,
}

var stateWords = map[payout.State]string{
	payout.StateNew: WordOpen, payout.StateSending: WordOpen, payout.StateUnknown: WordOpen, payout.StateAccepted: WordOpen,
	payout.StatePaid: WordPaid, payout.StatePartial: WordPartly, payout.StateDeclined: WordDeclined,
	payout.StateRejected: WordRejected, payout.StateReturned: WordReturned, payout.StateCancelled: WordCancelled,
}

// StateWord is the word for a state that no check overrules.
func StateWord(s payout.State) string { return stateWords[s] }

// Word is result.state of a payout.
func Word(p payout.Payout) string {
	if p.NeedsCheck() {
		return WordCheck
	}
	return stateWords[p.State]
}

// The words of result.action: what a person should do.
const (
	ActNothing = "nothing"
	ActWait    = "wait"
	ActFix     = "fix row"
	ActNewID   = "new id"
	ActCheck   = "check first"
	ActNever   = "never pay again"
)

// Actions lists them.
var Actions = []string{ActNothing, ActWait, ActFix, ActNewID, ActCheck, ActNever}

// Action is result.action of a payout.
func Action(p payout.Payout) string {
	if p.NeedsCheck() || p.Stuck() {
		return ActCheck
	}
	if p.MayHaveArrived() {
		return ActCheck
	}
	if p.Resolution.As == payout.StateDeclined && p.State == payout.StateDeclined {
		return ActNewID
	}
	switch p.State {
	case payout.StatePaid, payout.StateCancelled:
		return ActNothing
	case payout.StatePartial, payout.StateReturned:
		if p.Reviewable() {
			return ActCheck
		}
		return ActNothing
	case payout.StateDeclined, payout.StateRejected:
		return afterRefusal(gate.GroupOf(p.Reported.Code))
	}
	if strings.ReplaceAll(p.Reported.Status, "_", " ") == "awaiting clarification" || p.State != payout.StateNew && gate.GroupOf(p.Reported.Code) == gate.GroupCheck && p.Reported.Code != gate.CodeNotFound {
		return ActCheck
	}
	return ActWait
}

func afterRefusal(g gate.Group) string {
	switch g {
	case gate.GroupFixRow, gate.GroupFixRequest:
		return ActFix
	case gate.GroupNever:
		return ActNever
	case gate.GroupCheck, gate.GroupWait, gate.GroupDuplicate:
		return ActCheck
	}
	return ActNewID
}

// StateInWords is what a person must know of a payout before it is paid once more.
func StateInWords(p payout.Payout) string {
	switch {
	case Action(p) == ActNever:
		return "refused for fraud or compliance"
	case Action(p) == ActCheck && !p.State.Open() && !p.NeedsCheck():
		return Word(p) + " in a way that a person must look at first"
	case p.State == payout.StateNew && !p.NeedsCheck():
		return "not sent yet and will be"
	case Word(p) == WordOpen:
		return "open and may be paid"
	case Word(p) == WordCheck:
		return "to be checked by a person"
	}
	return Word(p)
}

// ShellWord is a word as a shell reads it back.
func ShellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:@%+=", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
