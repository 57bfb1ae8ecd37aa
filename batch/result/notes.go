package result

import (
	"strconv"
	"strings"

	"masspay/payout"
	"masspay/store"
)

// Notes writes result.note.
type Notes struct {
	Batch uint32            // number of the batch
	Names map[uint32]string // of all batches, by number; see Names
	Rules payout.Rules
}

// Of is result.note: every oddity of a row, in words, and what it waits for.
func (n Notes) Of(l store.Line) string {
	if l.Skip != "" {
		return "left out, not sent: " + l.Skip
	}
	p := l.Payout
	var notes []string
	add := func(cond bool, text string) {
		if cond {
			notes = append(notes, text)
		}
	}
	f := func(flag payout.Flags) bool { return p.Flags&flag != 0 }
	if p.SentBy != 0 && p.SentBy != n.Batch {
		add(true, "sent by batch "+n.Names[p.SentBy])
	}
	notes = appendResolution(notes, p)
	if f(payout.PaidTwice) {
		add(true, "perhaps paid twice: "+payments(p))
	}
	add(f(payout.Contradicted), "the gate reported two outcomes that cannot both be true")
	if f(payout.AmountDiffers) {
		add(true, "the gate's amount is not what was asked for: it reports "+p.Reported.Amount.String()+", the row asks for "+p.Amount.String())
	}
	if f(payout.NotOurs) {
		add(true, "the gate reports a payment of this id that is not this row's: "+p.Field+" differs; nothing it says of that payment was taken")
	} else if f(payout.Unproved) {
		add(true, "the gate reports a payment of this id that is not shown to be this row's: "+p.Field+" is missing; nothing it says of that payment was taken")
	}
	add(p.Unproven && !p.OfAnother(), "the gate had this id before the first attempt")
	if f(payout.OddStatus) {
		add(true, "the gate reported "+quoted(p.OddStatuses)+", which a person must read")
	}
	add(f(payout.Vanished), "the gate says that it has this id, and that it does not know it")
	if f(payout.Ended) && p.State.Open() {
		add(true, "the gate ended it without success ("+p.Reported.Status+"); it may have been paid all the same: ask the platform, then masspay resolve")
	}
	add(p.Bar != payout.Bar{} && p.State == payout.StateUnknown, "the process that sent it vanished without a trace: it is polled, and sent again only after a person has looked (masspay resolve), or when the machine was restarted")
	add(f(payout.OtherType), "the gate also reported something about this id that is not about a payout")
	add(f(payout.Restored), "the gate knew of it before this store did")
	add(p.State == payout.StateNew && p.OfAnother(), "not sent, and not to be sent under this id")
	if p.State == payout.StateNew && !p.OfAnother() {
		add(true, unsent(p))
	}
	add(p.State == payout.StateSending, "being sent")
	add(p.State == payout.StateUnknown && !p.Seen && p.Tries == 0, "not sent by this store; the gate is asked whether the lost one sent it")
	add(p.State == payout.StateUnknown && !p.Seen && p.Tries > 0, "no usable answer came; it may or may not be paid, and the gate is polled")
	add(p.State == payout.StateUnknown && p.Seen && !p.OfAnother(), "the gate has it; its status is polled")
	add(p.State.Open() && p.OfAnother(), "ask the platform whose payment it is, and only if it is not this row's: masspay resolve --as not-paid, then pay the row under a new id")
	add(p.State == payout.StateCancelled, "cancelled, not paid; its id is free")
	add(p.State == payout.StateAccepted, "accepted by the gate; whether it was paid is not known yet, do not pay it elsewhere")
	add(p.State.Final() && f(payout.WasDoubted) && p.Resolution.As == 0, "an attempt got no answer; what the gate reported decided it")
	add(f(payout.LateReport), "the gate repeated an older outcome later")
	add(p.Closed != 0 && !p.NeedsCheck() && p.Resolution.As == 0, "a person has seen this")
	if p.State == payout.StatePartial {
		add(true, "only "+p.Reported.Amount.String()+" of "+p.Amount.String()+" arrived")
	}
	add(p.State == payout.StateReturned, "the money came back")
	act := Action(p)
	add(act == ActionFix, "to pay it, correct the row and give it a new id")
	add(act == ActionNewID, "to pay it again, use a new id")
	add(act == ActionNever, "refused for fraud or compliance (code "+p.Reported.Code+"): not to be paid again, under any id")
	if act == ActionCheck && (p.State == payout.StateDeclined || p.State == payout.StateRejected) && !p.NeedsCheck() {
		if p.MayHaveArrived() {
			add(true, "the gate has reported that money of it arrived: do not pay it again")
		} else {
			add(true, "code "+p.Reported.Code+" does not say that it may be paid again: ask the platform first")
		}
	}
	if act == ActionCheck && p.State.Open() && !p.NeedsCheck() && !p.Stuck() {
		if by := p.ClarifyBy(); !by.IsZero() {
			add(true, "the platform has a question about it: answer in its Dashboard before "+stamp(by)+", or it declines the payout")
		} else {
			add(true, "the platform waits for a person, or does not say what it does: ask it")
		}
	}
	if p.State == payout.StateAccepted && !p.NotSeenAt.IsZero() {
		add(true, "when it was polled on "+stamp(p.NotSeenAt)+" the gate did not know it, as may happen just after sending: if that lasts, ask the platform, then masspay resolve")
	}
	add(p.Flags&payout.Reviewed != 0 && p.Closed == 0, "a person has seen this")
	if when := n.polled(p); when != "" && len(notes) > 0 {
		notes[len(notes)-1] += ", " + when // no semicolon, which most files' cells are divided by
	} else {
		add(when != "", when)
	}
	return strings.Join(notes, "; ")
}

// unsent says why a payout that waits to be sent was not sent, and that it is not paid.
func unsent(p payout.Payout) string {
	switch {
	case p.Tries == 0:
		return "not sent, not paid: the next run sends it"
	case p.Flags&payout.WasDoubted != 0:
		return "not paid: no answer came, and the gate has said twice since that it does not know it; the next run sends it again"
	}
	return "not paid: the gate turned it away; the next run sends it again"
}

// polled says when an open payout is polled again, and by when it is decided.
func (n Notes) polled(p payout.Payout) string {
	if p.State != payout.StateUnknown && p.State != payout.StateAccepted || p.PollAt.IsZero() || p.NeedsCheck() {
		return ""
	}
	text := "polled again from " + stamp(p.PollAt) + " on"
	if p.State == payout.StateUnknown && !p.Seen && p.Bar == (payout.Bar{}) && !p.EndedAt.IsZero() {
		text += ", sent again if the gate still does not know it after " + stamp(p.EndedAt.Add(n.Rules.Quiet()))
	}
	return text
}

// appendResolution says what a person decided, and why. It is said for ever, also
// where the gate says otherwise later.
func appendResolution(notes []string, p payout.Payout) []string {
	r := p.Resolution
	if r.As == 0 {
		return notes
	}
	as := "paid"
	if r.As == payout.StateDeclined {
		as = "not paid"
	}
	return append(notes, as+" by "+r.By+" on "+r.At.UTC().Format("2006-01-02")+": "+oneLine(r.Reason))
}

// payments names what the gate reported as payments of one payout.
func payments(p payout.Payout) string {
	var names []string
	for _, o := range p.Paid {
		if names = append(names, "operation "+o.ID); o.Provider != "" {
			names[len(names)-1] += " (" + o.Provider + ")"
		}
	}
	for _, id := range []string{p.Reported.OperationID, p.Reported.RequestID, p.Second} {
		if id != "" && !strings.Contains(strings.Join(names, " "), id) {
			names = append(names, id)
		}
	}
	return strings.Join(names, ", ")
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	return strings.Join(q, ", ")
}

// oneLine makes a text of a person one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
