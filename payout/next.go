package payout

import (
	"cmp"
	"slices"
	"time"
)

// Rules are what Next needs beside a payout and an event. Zero values mean the
// defaults.
type Rules struct {
	StatusAfter time.Duration // wait this long for a callback before polling the status; default 15 s
	QuietPeriod time.Duration // before a second "not seen" frees an unknown payout; default 15 min
	Aliases     []string      // identities of gates that are one platform, because it moved; see SameGate

	// BlocksRetry reports codes of a refusal after which a row is not paid under another
	// id: it was for good, or a person must look first. nil: there are none.
	BlocksRetry func(code string) bool
}

// The defaults of Rules, and how far the interval between polls grows.
const (
	DefaultStatusAfter = 15 * time.Second
	DefaultQuietPeriod = 15 * time.Minute
	maxPollFactor      = 40
)

func (r Rules) statusAfter() time.Duration {
	if r.StatusAfter > 0 {
		return r.StatusAfter
	}
	return DefaultStatusAfter
}

// Quiet is QuietPeriod, or its default.
func (r Rules) Quiet() time.Duration { return r.quietPeriod() }

func (r Rules) quietPeriod() time.Duration {
	if r.QuietPeriod > 0 {
		return r.QuietPeriod
	}
	return DefaultQuietPeriod
}

// Effect says what an event did to a payout.
type Effect uint8

// The effects.
const (
	Ignored     Effect = iota // nothing changed: a repeat, or a late report about an earlier attempt
	Noted                     // only the bookkeeping changed: times, counters; not worth an event
	Changed                   // state, flags or the gate's reports changed; the event is kept
	Conflicting               // the event contradicts what is final; kept, and nothing resolved
)

// Next is the only place where a payout's state changes. It returns the payout
// as it is after the event and what the event did. It never fails: an event
// that does not fit is ignored or noted, and never frees a payout for sending.
//
// What it never does: lead a final payout back to an open state; lead back to
// New a payout that the gate has ever acknowledged, or one with an attempt in
// doubt that the gate has not twice denied; take silence for an outcome; believe a
// report that was not compared with the row, or that is another payment's.
func Next(r Rules, p Payout, e Event) (Payout, Effect) {
	before, after := &p, p
	more := e.Report() && e.Match.Ours() && addOperations(&after, &e)
	effect := next(r, &after, &e)
	if effect == Ignored {
		if !more {
			return p, Ignored
		}
		// Nothing but an operation that was not known.
		after, effect = p, Changed
		addOperations(&after, &e)
	}
	if after.Flags.has(PaidTwice) && !before.Flags.has(PaidTwice) || before.Closed.has(PaidTwice) && !after.Closed.has(PaidTwice) {
		effect = Conflicting
	}
	if e.fromGate() {
		after.ReportedAt = e.At
	}
	switch {
	case !after.State.Open() || !after.Reported.AwaitsClarification():
		after.ClarifySince = time.Time{}
	case after.ClarifySince.IsZero():
		after.ClarifySince = e.At
	}
	if effect == Noted && (after.Flags != before.Flags || after.Closed != before.Closed || after.Reported.Amount != before.Reported.Amount || len(after.Paid) != len(before.Paid) || after.Outcomes != before.Outcomes ||
		!after.NotSeenAt.Equal(before.NotSeenAt)) {
		effect = Changed // what leads to something later is kept
	}
	return after, effect
}

// fromGate reports whether an event is something that a gate said.
func (e *Event) fromGate() bool {
	switch e.Source {
	case FromCallback, FromStatus:
		return e.Kind != Silent && e.Kind != PollDue
	case FromRun:
		return e.Kind == Accepted || e.Kind == Taken || e.Kind == Refused
	case FromPerson, FromStore:
	}
	return false
}

// next changes a payout as an event tells; with Ignored, what it did to it is not
// taken over.
func next(r Rules, p *Payout, e *Event) Effect {
	if e.Report() && !e.Match.Ours() {
		return notOurs(r, p, e)
	}
	switch e.Kind {
	case Claimed:
		return claimed(r, p, e)
	case Released, Unsent:
		return freed(r, p, e)
	case Refused:
		return refused(r, p, e)
	case Doubtful:
		return doubtful(r, p, e)
	case Orphaned:
		return orphaned(r, p, e)
	case Accepted, Taken, Progress:
		return acknowledged(r, p, e)
	case Final:
		return final(p, e)
	case NotSeen:
		return notSeen(r, p, e)
	case Silent:
		return silent(r, p, e)
	case Suspected:
		return suspected(r, p, e)
	case Cancelled:
		return cancelled(p, e)
	case Irrelevant:
		return irrelevant(r, p, e)
	case Unlisted:
		return unlisted(r, p, e)
	case Lapsed:
		return lapsed(r, p, e)
	case Resolved:
		return resolved(p, e)
	case PollDue:
		return pollDue(r, p, e)
	}
	return Ignored
}

func claimed(r Rules, p *Payout, e *Event) Effect {
	if !p.Claimable(r, e.Host) {
		return Ignored
	}
	p.State = StateSending
	p.Attempt++
	p.Owner, p.SentBy = e.Owner, e.Batch
	p.Reported.Code, p.Reported.Message = "", "" // of an attempt before
	p.Host = e.Host
	p.EndedTick, p.NotSeenAt, p.NotSeen = Tick{}, time.Time{}, Tick{}
	if p.FirstSent.IsZero() {
		p.FirstSent = e.At
	}
	return Changed
}

// current reports whether an attempt's event is about the attempt that is
// under way. A late report about an earlier one must not touch a later one.
func current(p *Payout, e *Event) bool { return p.State == StateSending && e.Attempt == p.Attempt }

// freed is the only way back to New without a report of the gate, and only for the
// attempt under way: dangerous if anything else could reach it.
func freed(r Rules, p *Payout, e *Event) Effect {
	if !current(p, e) {
		return Ignored
	}
	if answered(r, p, e) {
		return Changed
	}
	p.State = StateNew
	if p.Tries == 0 {
		p.FirstSent = time.Time{} // nothing was ever sent
	}
	if p.OfAnother() {
		p.pollAfter(r, e.At) // it is not sent, and the gate may say more
	}
	return Changed
}

func refused(r Rules, p *Payout, e *Event) Effect {
	if !current(p, e) {
		return Ignored
	}
	if answered(r, p, e) {
		return Changed
	}
	p.State = StateRejected
	p.FinalAt = e.At
	p.Reported.Status = e.Status
	p.PollAt = time.Time{}
	return Changed
}

// answered closes the attempt under way, which did not become a payment.
// That says nothing of an earlier one: where such a one may have been paid, the
// payout is Unknown.
func answered(r Rules, p *Payout, e *Event) (doubted bool) {
	ended(p, e)
	p.Reported.Code, p.Reported.Message = e.Code, e.Message
	if p.Doubted || p.Seen {
		p.State = StateUnknown
		p.pollAfter(r, e.At)
		return true
	}
	return false
}

func doubtful(r Rules, p *Payout, e *Event) Effect {
	if current(p, e) {
		ended(p, e)
		p.Reported.Code, p.Reported.Message = e.Code, e.Message
		p.State = StateUnknown
		p.Doubted, p.MayHaveLeft = true, true
		p.Flags |= WasDoubted
		p.Polls, p.NotSeenAt = 0, time.Time{}
		p.pollAfter(r, e.At)
		return Changed
	}
	if e.Attempt < 1 || e.Attempt > p.Attempt || !p.State.Open() {
		return Ignored
	}
	// A doubt that is reported late still counts: it ends the sending.
	if p.Doubted && p.State != StateNew {
		return Ignored
	}
	p.Doubted, p.MayHaveLeft = true, true
	p.Flags |= WasDoubted
	if p.State == StateNew {
		p.State = StateUnknown
		p.EndedAt, p.EndedTick, p.NotSeenAt = e.At, e.Tick, time.Time{}
		p.pollAfter(r, e.At)
		return Changed
	}
	return Changed
}

func orphaned(r Rules, p *Payout, e *Event) Effect {
	if p.State != StateSending || e.Owner != p.Owner {
		return Ignored
	}
	ended(p, e)
	p.State = StateUnknown
	p.Doubted, p.MayHaveLeft = true, true
	p.Flags |= WasDoubted
	p.Bar = e.Bar
	p.Polls, p.NotSeenAt = 0, time.Time{}
	p.Tries++ // one request may have left
	p.pollAfter(r, e.At)
	return Changed
}

// ended closes the attempt under way.
func ended(p *Payout, e *Event) {
	p.Owner = 0
	p.Tries += e.Tries
	p.EndedAt, p.EndedTick = e.At, e.Tick
}

// overtaken closes the attempt under way because the gate spoke before its
// answer was recorded; at least one request of it was made.
func overtaken(p *Payout, e *Event) {
	p.Owner = 0
	p.Tries++
	p.EndedAt = e.At
	p.MayHaveLeft = true
}

// acknowledged takes an acceptance, or a report that the gate knows the id and has
// not decided.
func acknowledged(r Rules, p *Payout, e *Event) Effect {
	before := *p
	twice := e.Kind == Accepted && acceptance(p, e)
	if p.State.Final() && p.State != StateCancelled {
		return acknowledgedLate(&before, p, e, twice)
	}
	if p.State == StateNew || p.State == StateCancelled {
		p.Flags |= Restored
	}
	if e.Kind == Taken && mayBeTheirs(p) {
		p.Unproven = true
	}
	if current(p, e) && e.Source == FromRun {
		ended(p, e)
	} else if p.State == StateSending {
		overtaken(p, e)
	}
	proved(p, e)
	p.Seen = true
	p.EndedTick = Tick{} // never freed any more
	if e.Kind != Taken || !p.Unproven {
		p.NotSeenAt, p.NotSeen = time.Time{}, Tick{}
	}
	if e.Kind == Progress {
		p.Flags &^= Ended // it goes on
	}
	switch {
	case e.Kind != Taken:
		p.State = StateAccepted
	case p.State != StateAccepted:
		// Taken: the gate has something under this id; what, only status tells.
		p.State = StateUnknown
	}
	mergeReport(p, e)
	if e.Source == FromStatus && p.State == before.State && p.Reported.Status == before.Reported.Status && p.Flags == before.Flags && p.Unproven == before.Unproven {
		p.Polls++
		p.pollAfter(r, e.At)
		return Noted
	}
	p.Polls = 0
	p.pollAfter(r, e.At)
	switch {
	case twice:
		return Conflicting
	case p.State == before.State && p.Reported.Status == before.Reported.Status && p.Reported.RequestID == before.Reported.RequestID &&
		p.Flags == before.Flags && p.Seen == before.Seen && p.Unproven == before.Unproven && p.AcceptedAttempt == before.AcceptedAttempt:
		return Noted
	}
	return Changed
}

// acceptance notes which attempt the gate accepted. Two accepted attempts are two
// payments, as far as anybody knows, and so is one beside a payment that the gate
// has reported while a later attempt was under way.
func acceptance(p *Payout, e *Event) (twice bool) {
	known := p.State == StateAccepted || p.State.Final() && p.State != StateCancelled
	switch {
	case p.AcceptedAttempt == e.Attempt:
		return false
	case p.AcceptedAttempt == 0 && (e.Attempt == p.Attempt || !known):
		p.AcceptedAttempt = e.Attempt
		return false
	}
	paidTwice(p, e.RequestID)
	return true
}

// paidTwice notes what names a second payment.
func paidTwice(p *Payout, second string) {
	p.Flags |= PaidTwice
	p.Closed &^= PaidTwice
	if p.Second == "" {
		p.Second = second
	}
}

// acknowledgedLate is what an acknowledgement does to a payout that has its
// outcome; p is before with what acceptance noted.
func acknowledgedLate(before, p *Payout, e *Event, twice bool) Effect {
	switch {
	case twice:
		return Conflicting
	case p.Resolution.As == StateDeclined && e.Kind != Taken && !p.Flags.has(Contradicted):
		// A person has said that it was not paid, and the gate works on it.
		p.Flags |= Contradicted
		mergeReport(p, e)
		return Conflicting
	case e.Kind == Accepted && e.Attempt == p.Attempt && p.Reported.RequestID == "":
		// An answer that an outcome overtook still names the request.
		p.Reported.RequestID = e.RequestID
		p.Flags |= Overtaken
		return Changed
	case e.Kind == Accepted && p.AcceptedAttempt != before.AcceptedAttempt:
		return Changed
	case e.Kind == Taken && !p.Unproven && mayBeTheirs(p):
		p.Unproven = true
		p.Flags |= Unproved
		p.Field = FieldCustomer
		return Conflicting
	}
	return Ignored
}

// notOurs notes a report that is not about this row's payment, or not shown to be:
// the payout stays as it was, and a person must look.
func notOurs(r Rules, p *Payout, e *Event) Effect {
	flag := Unproved
	if e.Match == MatchDiffers {
		flag = NotOurs
	}
	if p.Flags.has(flag | NotOurs) {
		return silent(r, p, e)
	}
	p.Flags |= flag
	p.Field = e.Field
	if p.State.Open() && p.State != StateSending && (p.PollAt.IsZero() || e.Source == FromStatus) {
		p.Polls++
		p.pollAfter(r, e.At)
	}
	return Changed
}

func final(p *Payout, e *Event) Effect {
	if !e.Outcome.Final() || e.Outcome == StateCancelled {
		return Ignored
	}
	if p.State.Final() && p.State != StateCancelled {
		return secondOutcome(p, e)
	}
	if p.State == StateNew || p.State == StateCancelled {
		p.Flags |= Restored
	}
	if p.State == StateSending {
		p.Flags |= Overtaken
		overtaken(p, e)
	}
	proved(p, e)
	mergeReport(p, e)
	p.State = e.Outcome
	p.Outcomes |= 1 << e.Outcome
	p.Flags &^= Ended
	p.Seen = true
	p.EndedTick, p.NotSeenAt, p.NotSeen = Tick{}, time.Time{}, Tick{}
	p.FinalAt = e.At
	p.PollAt = time.Time{}
	return Changed
}

func secondOutcome(p *Payout, e *Event) Effect {
	known := p.Outcomes>>e.Outcome&1 == 1 || p.State == e.Outcome
	arrived := e.Outcome == StatePaid || e.Outcome == StatePartial || e.Outcome == StateReturned
	p.Outcomes |= 1 << e.Outcome
	repeat := func() Effect {
		if known {
			return Ignored
		}
		return Changed
	}
	switch {
	case p.Resolution.As == StateDeclined && arrived && !known:
		// A person has said that it was not paid, and may have paid it elsewhere.
		paidTwice(p, cmp.Or(e.OperationID, e.RequestID))
		mergeReport(p, e)
		return Conflicting
	case p.Resolution.As == StateDeclined:
		return repeat()
	case e.Outcome == StateReturned && (p.State == StatePaid || p.State == StatePartial):
		mergeReport(p, e)
		p.Flags &^= Reviewed // that was of what arrived
		p.State = StateReturned
		p.FinalAt = e.At
		return Changed
	case p.State == e.Outcome:
		// A repeat may still prove whose payment it is, or name another amount.
		q := *p
		proved(&q, e)
		withAmount(&q, e)
		if q.Flags != p.Flags || q.Unproven != p.Unproven {
			*p = q
			return Changed
		}
		return repeat()
	case p.State == StateReturned && (e.Outcome == StatePaid || e.Outcome == StatePartial):
		// After a return, the success that it undid is only told late.
		if p.Flags.has(LateReport) {
			return repeat()
		}
		p.Flags |= LateReport
		return Changed
	case known && p.Flags.has(Contradicted):
		return repeat()
	}
	p.Flags |= Contradicted
	p.Closed &^= Contradicted
	return Conflicting
}

// maxOperations are kept of a payout; a payment is split into a few.
const maxOperations = 32

// addOperations takes over the successful operations that a report names, and
// notes a second payment: together they exceed what was asked for, or two carry it
// in full. A split and a retry by the platform do neither. It reports whether one was
// new.
func addOperations(p *Payout, e *Event) bool {
	kept := len(p.Paid)
	for i, o := range e.Operations {
		same := func(k Operation) bool { return k.ID == o.ID || !differ(k, o) }
		if slices.ContainsFunc(e.Operations[:i], func(k Operation) bool { return k.ID == o.ID }) ||
			slices.ContainsFunc(p.Paid[:kept], same) || len(p.Paid) >= maxOperations {
			continue
		}
		p.Paid = append(p.Paid[:len(p.Paid):len(p.Paid)], o)
	}
	if len(p.Paid) == kept {
		return false
	}
	var sum int64
	full := 0
	for _, o := range p.Paid {
		if o.Amount.Currency != p.Amount.Currency || o.Amount.Minor < 0 {
			continue
		}
		if sum += o.Amount.Minor; o.Amount.Minor == p.Amount.Minor {
			full++
		}
	}
	if last := p.Paid[len(p.Paid)-1]; len(p.Paid) > 1 && (full > 1 || sum > p.Amount.Minor) {
		paidTwice(p, last.ID) // also where a person has seen one before
	}
	return true
}

// differ reports whether two operations of different reports are surely two: ids
// alone may change between reports of one.
func differ(a, b Operation) bool {
	return a.Provider != "" && b.Provider != "" && a.Provider != b.Provider ||
		!a.Made.IsZero() && !b.Made.IsZero() && !a.Made.Equal(b.Made)
}

// maxOddStatuses are remembered of a payout, so that each is shown once.
const maxOddStatuses = 32

// unlisted shows a status to a person, each once: one that reverses a
// payment, or one that is not listed. It is no outcome.
func unlisted(r Rules, p *Payout, e *Event) Effect {
	if slices.Contains(p.OddStatuses, e.Status) || len(p.OddStatuses) >= maxOddStatuses {
		return silent(r, p, e)
	}
	effect := Changed
	if p.State.Open() || p.State == StateCancelled {
		effect = acknowledged(r, p, e)
	} else {
		mergeReport(p, e)
	}
	p.OddStatuses = append(p.OddStatuses[:len(p.OddStatuses):len(p.OddStatuses)], e.Status)
	p.Flags |= OddStatus
	p.Closed &^= OddStatus
	return max(effect, Changed)
}

// lapsed takes a status that ends a payment without success and is no refusal. What
// was paid before is for a person; what has no outcome stays open, and only a
// person or a later report decides it.
func lapsed(r Rules, p *Payout, e *Event) Effect {
	switch p.State {
	case StateDeclined, StateRejected:
		return Ignored
	case StatePaid, StatePartial, StateReturned:
		return unlisted(r, p, e)
	}
	ended := p.Flags.has(Ended)
	effect := acknowledged(r, p, e)
	p.Flags |= Ended
	if !ended {
		effect = max(effect, Changed)
	}
	return effect
}

// resolved takes a person's decision. It never touches a payout that a process
// may be sending. Of one that was never sent it says that it was paid only where the gate
// has a payment of its id that is not shown to be another's: a lost store may have made it.
func resolved(p *Payout, e *Event) Effect {
	switch {
	case e.Outcome == 0:
		if !p.NeedsCheck() && !p.Reviewable() || e.Version != 0 && e.Version != p.Version() {
			return Ignored
		}
		if p.State == StatePartial || p.State == StateReturned {
			p.Flags |= Reviewed
		}
		p.Closed |= p.Flags & toCheck
		return Changed
	case e.Version != 0 && e.Version != p.Version(),
		e.Outcome != StatePaid && e.Outcome != StateDeclined,
		p.State == StateSending,
		p.State == StateNew && (e.Outcome == StatePaid && p.Flags&(NotOurs|Unproved) != Unproved || p.Cancellable()), // what was never in doubt is cancelled
		!p.State.Open() && !p.NeedsCheck():
		return Ignored
	}
	p.State = e.Outcome
	p.Outcomes = 1 << e.Outcome // what the gate reports from now on is news
	p.Resolution = Resolution{As: e.Outcome, By: e.Person, At: e.At, Reason: e.Reason}
	p.Closed |= p.Flags & toCheck
	p.Flags &^= Ended
	p.Bar, p.EndedTick, p.NotSeenAt, p.NotSeen = Bar{}, Tick{}, time.Time{}, Tick{}
	p.Doubted = false
	p.FinalAt = e.At
	p.PollAt = time.Time{}
	return Changed
}

// pollDue brings the next poll forward, at most once in status_after: a body was
// signed, and can be read in two ways.
func pollDue(r Rules, p *Payout, e *Event) Effect {
	if p.State != StateUnknown && p.State != StateAccepted {
		return Ignored
	}
	if since := e.At.Sub(p.PolledSoonAt); since >= 0 && since < r.statusAfter() {
		return Ignored
	}
	p.PolledSoonAt = e.At
	if e.At.Before(p.PollAt) {
		p.PollAt = e.At
	}
	return Noted
}

// notSeen frees an unknown payout, dangerous if it does so a report too early:
// the gate must have said so twice, of the host that the attempt went to, the
// second time a quiet period after the attempt ended. That time is measured on
// the clock that cannot be set, and where it cannot be measured, because the
// machine was restarted, it begins with the first report since, which counts for
// nothing else.
func notSeen(r Rules, p *Payout, e *Event) Effect {
	if p.State != StateUnknown {
		if p.State == StateAccepted && r.SameGate(e.Host, p.Host) && e.Tick.Boot != 0 {
			return vanished(r, p, e)
		}
		return silent(r, p, e)
	}
	if !r.SameGate(e.Host, p.Host) || e.Tick.Boot == 0 {
		return silent(r, p, e)
	}
	if p.Seen { // a 3041, whichever attempt it was about
		return vanished(r, p, e)
	}
	quiet, measured := e.Tick.Since(p.EndedTick)
	switch {
	case !measured && e.Applied.Boot != 0:
		// When it was asked, the attempt may not have ended; so this report only
		// begins the period, and counts for nothing else.
		p.EndedTick, p.NotSeenAt, p.NotSeen = e.Applied, time.Time{}, Tick{}
		p.Polls++
		p.pollAfter(r, e.At)
		p.pollWhenQuiet(r.quietPeriod(), e.At)
		return Changed
	case !measured:
		return silent(r, p, e)
	case quiet <= 0:
		return silent(r, p, e) // asked before the attempt ended
	}
	left := r.quietPeriod() - quiet
	if p.NotSeenAt.IsZero() {
		p.NotSeenAt, p.NotSeen = e.At, e.Tick
		p.Polls++
		p.pollAfter(r, e.At)
		p.pollWhenQuiet(left, e.At)
		return Changed
	}
	if between, ok := e.Tick.Since(p.NotSeen); ok && between >= r.statusAfter() && left <= 0 && (p.Bar == Bar{} || e.Lifted) {
		p.State = StateNew
		p.Doubted = false
		p.Bar = Bar{}
		p.NotSeenAt, p.NotSeen = time.Time{}, Tick{} // EndedTick stays: a person may give the payout up
		p.PollAt, p.Polls = time.Time{}, 0
		return Changed
	}
	p.Polls++
	p.pollAfter(r, e.At)
	p.pollWhenQuiet(left, e.At)
	return Noted
}

// vanished is for an id that the gate said was taken before our first request, and
// that it does not know when it is polled: after two such answers, a quiet period
// apart, a person must look. It frees nothing.
func vanished(r Rules, p *Payout, e *Event) Effect {
	if p.State == StateAccepted && !p.Unproven || p.AcceptedAttempt != 0 && !p.Unproven || p.Flags.has(Vanished) {
		if p.State == StateAccepted && p.NotSeenAt.IsZero() {
			p.NotSeenAt = e.At // told to people; it frees nothing
		}
		return silent(r, p, e)
	}
	p.Polls++
	p.pollAfter(r, e.At)
	between, measured := e.Tick.Since(p.NotSeen)
	switch {
	case p.NotSeenAt.IsZero() || !measured:
		p.NotSeenAt, p.NotSeen = e.At, e.Tick
		p.pollWhenQuiet(r.quietPeriod(), e.At)
		return Changed
	case between >= r.quietPeriod():
		p.Flags |= Vanished
		return Changed
	}
	p.pollWhenQuiet(r.quietPeriod()-between, e.At)
	return Noted
}

// silent counts a poll that told nothing new; what did not come from a poll counts
// for nothing.
func silent(r Rules, p *Payout, e *Event) Effect {
	polled := p.State == StateUnknown || p.State == StateAccepted || p.State == StateNew && p.OfAnother()
	if !polled || e.Source != FromStatus {
		return Ignored
	}
	p.Polls++
	p.pollAfter(r, e.At)
	return Noted
}

// suspected takes a payout out of sending because the store is a restored copy:
// the lost one may have sent it.
func suspected(r Rules, p *Payout, e *Event) Effect {
	if p.State != StateNew {
		return Ignored
	}
	p.State = StateUnknown
	p.Doubted, p.MayHaveLeft = true, false
	p.Epoch, p.Host, p.EndedAt, p.EndedTick = e.Epoch, e.Host, e.At, e.Tick
	p.LostSince = e.Since
	p.Polls, p.NotSeenAt = 0, time.Time{}
	p.pollAfter(r, e.At)
	return Changed
}

// irrelevant notes that the gate knows the id for something that is no payout.
func irrelevant(r Rules, p *Payout, e *Event) Effect {
	before := p.Flags
	p.Flags |= OtherType
	if p.Unproven && e.Source == FromStatus {
		p.Flags |= NotOurs
		p.Field = FieldType
	}
	effect := Changed
	if p.Flags == before {
		effect = Ignored
	}
	if e.Source == FromStatus && (p.State == StateUnknown || p.State == StateAccepted) {
		p.Polls++
		p.pollAfter(r, e.At)
		return max(effect, Noted)
	}
	return effect
}

func cancelled(p *Payout, e *Event) Effect {
	if !p.Cancellable() {
		return Ignored
	}
	p.State = StateCancelled
	p.FinalAt = e.At
	return Changed
}

// mergeReport takes over what the gate said.
func mergeReport(p *Payout, e *Event) {
	withAmount(p, e)
	p.Reported.merge(e.Reported)
}

func withAmount(p *Payout, e *Event) {
	if e.Amount != (Amount{}) {
		if e.Amount != p.Amount && !partOf(p, e) {
			p.Flags |= AmountDiffers
			if e.Amount != p.Reported.Amount {
				p.Closed &^= AmountDiffers // not the one that a person has seen
			}
		}
		p.Reported.Amount = e.Amount
	}
}

// partOf reports whether the gate's smaller amount is what a partly paid
// payout is expected to show.
func partOf(p *Payout, e *Event) bool {
	partial := e.Outcome == StatePartial || p.State == StatePartial
	return partial && e.Amount.Currency == p.Amount.Currency && e.Amount.Minor >= 0 && e.Amount.Minor <= p.Amount.Minor
}

// mayBeTheirs reports whether a payment that was there before our attempt may
// be another's use of the id: no earlier attempt of ours is in doubt, and it was not
// shown to be ours. That a callback overtook the answer to this attempt says nothing:
// it may be about the other payment.
func mayBeTheirs(p *Payout) bool { return !p.Flags.has(WasDoubted | Proved) }

// proved takes over what a comparison showed.
func proved(p *Payout, e *Event) {
	if e.Report() {
		p.Flags &^= Unproved | Vanished
	}
	if e.Match == MatchProven {
		p.Unproven = false
		p.Flags |= Proved
	}
}

// pollAfter sets the next poll: status_after from now, doubled for every
// question in vain, up to 40 times.
func (p *Payout) pollAfter(r Rules, now time.Time) {
	factor := 1 << min(p.Polls, 6)
	p.PollAt = now.Add(time.Duration(min(factor, maxPollFactor)) * r.statusAfter())
}

// pollWhenQuiet brings the next poll forward to the end of the quiet period.
func (p *Payout) pollWhenQuiet(left time.Duration, now time.Time) {
	if over := now.Add(left); left > 0 && over.Before(p.PollAt) {
		p.PollAt = over
	}
}

// LongestPollInterval is the longest time that may lie before the next poll about a
// payout.
func (r Rules) LongestPollInterval() time.Duration {
	return max(maxPollFactor*r.statusAfter(), r.quietPeriod())
}

func (f Flags) has(any Flags) bool { return f&any != 0 }
