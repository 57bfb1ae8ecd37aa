package payout

import "time"

// Rules are the two durations that Next needs. Zero values mean the defaults.
type Rules struct {
	StatusAfter time.Duration // silence before the gate is asked; default 15 s
	QuietPeriod time.Duration // before a second "not seen" frees an unknown payout; default 15 min
}

// The defaults of Rules, and how far the interval between questions grows.
const (
	DefaultStatusAfter = 15 * time.Second
	DefaultQuietPeriod = 15 * time.Minute
	maxAskFactor       = 40
)

func (r Rules) statusAfter() time.Duration {
	if r.StatusAfter > 0 {
		return r.StatusAfter
	}
	return DefaultStatusAfter
}

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
	Ignored     Effect = iota // nothing changed: a repeat, or a late word about an earlier attempt
	Noted                     // only the bookkeeping changed: times, counters; not worth an event
	Changed                   // state, flags or the gate's words changed; the event is kept
	Conflicting               // the event contradicts what is settled; kept, and nothing resolved
)

// Next is the only place where a payout's state changes. It returns the payout
// as it is after the event and what the event did. It never fails: an event
// that does not fit is ignored or noted, and never frees a payout for sending.
//
// What it never does: lead a settled payout back to an open state; lead back to
// New a payout that the gate has ever acknowledged, or one with an attempt in
// doubt that the gate has not twice denied; take silence for an outcome.
func Next(r Rules, p Payout, e Event) (Payout, Effect) {
	if e.Maybe && p.InQuestion() {
		return p, Ignored
	}
	switch e.Kind {
	case Claimed:
		return claimed(p, e)
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
	case Verdict:
		return verdict(p, e)
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
	}
	return p, Ignored
}

func claimed(p Payout, e Event) (Payout, Effect) {
	if p.State != StateNew {
		return p, Ignored
	}
	p.State = StateSending
	p.Attempt++
	p.Owner, p.SentBy = e.Owner, e.Batch
	p.Code, p.Message = "", "" // of an attempt before
	p.Host = e.Host
	p.EndedTick, p.NotSeenAt, p.NotSeen = Tick{}, time.Time{}, Tick{}
	if p.FirstSent.IsZero() {
		p.FirstSent = e.At
	}
	return p, Changed
}

// current reports whether an attempt's event is about the attempt that is
// under way. A late word about an earlier one must not touch a later one.
func current(p Payout, e Event) bool { return p.State == StateSending && e.Attempt == p.Attempt }

// freed is the only way back to New without the gate's word, and only for the
// attempt under way: dangerous if anything else could reach it.
func freed(r Rules, p Payout, e Event) (Payout, Effect) {
	if !current(p, e) {
		return p, Ignored
	}
	p, doubted := answered(r, p, e)
	if doubted {
		return p, Changed
	}
	p.State = StateNew
	if p.Tries == 0 {
		p.FirstSent = time.Time{} // nothing was ever sent
	}
	return p, Changed
}

func refused(r Rules, p Payout, e Event) (Payout, Effect) {
	if !current(p, e) {
		return p, Ignored
	}
	p, doubted := answered(r, p, e)
	if doubted {
		return p, Changed
	}
	p.State = StateRejected
	p.SettledAt = e.At
	p.GateStatus = e.Status
	p.AskAt = time.Time{}
	return p, Changed
}

// answered closes the attempt under way, which surely did not become a payment.
// That says nothing of an earlier one: where such a one may have been paid, the
// payout is Unknown.
func answered(r Rules, p Payout, e Event) (q Payout, doubted bool) {
	p = ended(p, e)
	p.Code, p.Message = e.Code, e.Message
	if p.Doubted || p.Seen {
		p.State = StateUnknown
		return p.askAfter(r, e.At), true
	}
	return p, false
}

func doubtful(r Rules, p Payout, e Event) (Payout, Effect) {
	if current(p, e) {
		p = ended(p, e)
		p.Code, p.Message = e.Code, e.Message
		p.State = StateUnknown
		p.Doubted = true
		p.Flags |= WasDoubted
		p.Asks, p.NotSeenAt = 0, time.Time{}
		return p.askAfter(r, e.At), Changed
	}
	if e.Attempt < 1 || e.Attempt > p.Attempt || !p.State.Open() {
		return p, Ignored
	}
	// A doubt that is reported late still counts: it ends the sending.
	if p.Doubted && p.State != StateNew {
		return p, Ignored
	}
	p.Doubted = true
	p.Flags |= WasDoubted
	if p.State == StateNew {
		p.State = StateUnknown
		p.EndedAt, p.EndedTick, p.NotSeenAt = e.At, e.Tick, time.Time{}
		return p.askAfter(r, e.At), Changed
	}
	return p, Changed
}

func orphaned(r Rules, p Payout, e Event) (Payout, Effect) {
	if p.State != StateSending || e.Owner != p.Owner {
		return p, Ignored
	}
	p = ended(p, e)
	p.State = StateUnknown
	p.Doubted = true
	p.Flags |= WasDoubted
	p.Asks, p.NotSeenAt = 0, time.Time{}
	p.Tries++ // one request may have left
	return p.askAfter(r, e.At), Changed
}

// ended closes the attempt under way.
func ended(p Payout, e Event) Payout {
	p.Owner = 0
	p.Tries += e.Tries
	p.EndedAt, p.EndedTick = e.At, e.Tick
	return p
}

// overtaken closes the attempt under way because the gate spoke before its
// answer was recorded; at least one request of it was made.
func overtaken(p Payout, e Event) Payout {
	p.Owner = 0
	p.Tries++
	p.EndedAt = e.At
	return p
}

// acknowledged takes the gate's word that it knows the id and has not decided.
func acknowledged(r Rules, p Payout, e Event) (Payout, Effect) {
	if p.State.Settled() && p.State != StateCancelled {
		// An answer that a verdict overtook still names the request.
		if e.Kind == Accepted && e.Attempt == p.Attempt && p.Request == "" {
			p.Request = e.Request
			p.Flags |= Overtaken
			return p, Changed
		}
		if e.Kind == Taken && !p.Unproven && mayBeTheirs(p) {
			p.Unproven = true
			return p, Conflicting
		}
		return p, Ignored
	}
	before := p
	if p.State == StateNew || p.State == StateCancelled {
		p.Flags |= Restored
	}
	if e.Kind == Taken && mayBeTheirs(p) {
		p.Unproven = true
	}
	if current(p, e) && e.Source == FromRun {
		p = ended(p, e)
	} else if p.State == StateSending {
		p = overtaken(p, e)
	}
	p = proved(p, e)
	p.Seen = true
	p.EndedTick, p.NotSeen = Tick{}, Tick{} // never freed any more
	switch {
	case e.Kind == Accepted || e.Kind == Progress:
		p.State = StateAccepted
	case p.State != StateAccepted:
		// Taken: the gate has something under this id; what, only status tells.
		p.State = StateUnknown
	}
	p = heard(p, e)
	if e.Source == FromStatus && p.State == before.State && p.GateStatus == before.GateStatus && p.Flags == before.Flags && p.Unproven == before.Unproven {
		p.Asks++
		return p.askAfter(r, e.At), Noted
	}
	p.Asks = 0
	p = p.askAfter(r, e.At)
	if p.State == before.State && p.GateStatus == before.GateStatus && p.Request == before.Request &&
		p.Flags == before.Flags && p.Seen == before.Seen && p.Unproven == before.Unproven {
		return p, Noted
	}
	return p, Changed
}

func verdict(p Payout, e Event) (Payout, Effect) {
	if !e.Outcome.Settled() || e.Outcome == StateCancelled {
		return p, Ignored
	}
	if p.State.Settled() && p.State != StateCancelled {
		return secondVerdict(p, e)
	}
	if p.State == StateNew || p.State == StateCancelled {
		p.Flags |= Restored
	}
	if p.State == StateSending {
		p.Flags |= Overtaken
		p = overtaken(p, e)
	}
	p = proved(p, e)
	p = heard(p, e)
	p.State = e.Outcome
	p.Seen = true
	p.EndedTick, p.NotSeen = Tick{}, Tick{}
	p.SettledAt = e.At
	p.AskAt = time.Time{}
	return p, Changed
}

func secondVerdict(p Payout, e Event) (Payout, Effect) {
	same := p.State == e.Outcome
	returned := e.Outcome == StateReturned && (p.State == StatePaid || p.State == StatePartial)
	// After a return, the success that it undid is only told late.
	old := p.State == StateReturned && (e.Outcome == StatePaid || e.Outcome == StatePartial)
	switch {
	case returned:
		p = heard(p, e)
		p.State = StateReturned
		p.SettledAt = e.At
		return p, Changed
	case same:
		// A repeat may still prove whose payment it is, or name another amount.
		before := p
		q := proved(p, e)
		q = withAmount(q, e)
		if q.Flags != before.Flags || q.Unproven != before.Unproven {
			return q, Changed
		}
		return p, Ignored
	case old:
		if p.Flags.has(LateWord) {
			return p, Ignored
		}
		p.Flags |= LateWord
		return p, Changed
	}
	p.Flags |= Contradicted
	return p, Conflicting
}

// notSeen frees an unknown payout, dangerous if it does so a word too early:
// the gate must have said so twice, of the host that the attempt went to, the
// second time a quiet period after the attempt ended. That time is measured on
// the clock that nobody can set, and where it cannot be measured, because the
// machine was started anew, it begins with the first word since, which counts for
// nothing else.
func notSeen(r Rules, p Payout, e Event) (Payout, Effect) {
	if p.State != StateUnknown {
		if p.State == StateAccepted {
			return silent(r, p, e)
		}
		return p, Ignored
	}
	if p.Seen || e.Host != p.Host || e.Tick.Boot == 0 {
		return silent(r, p, e)
	}
	quiet, measured := e.Tick.Since(p.EndedTick)
	switch {
	case !measured && e.Applied.Boot != 0:
		// When it was asked, the attempt may not have ended; so this word only
		// begins the period, and counts for nothing else.
		p.EndedTick, p.NotSeenAt, p.NotSeen = e.Applied, time.Time{}, Tick{}
		p.Asks++
		return p.askAfter(r, e.At).askWhenQuiet(r.quietPeriod(), e.At), Changed
	case !measured:
		return silent(r, p, e)
	case quiet <= 0:
		return silent(r, p, e) // asked before the attempt ended
	}
	left := r.quietPeriod() - quiet
	if p.NotSeenAt.IsZero() {
		p.NotSeenAt, p.NotSeen = e.At, e.Tick
		p.Asks++
		return p.askAfter(r, e.At).askWhenQuiet(left, e.At), Changed
	}
	if between, ok := e.Tick.Since(p.NotSeen); ok && between >= r.statusAfter() && left <= 0 {
		p.State = StateNew
		p.Doubted = false
		p.EndedTick, p.NotSeenAt, p.NotSeen = Tick{}, time.Time{}, Tick{}
		p.AskAt, p.Asks = time.Time{}, 0
		return p, Changed
	}
	p.Asks++
	return p.askAfter(r, e.At).askWhenQuiet(left, e.At), Noted
}

func silent(r Rules, p Payout, e Event) (Payout, Effect) {
	if p.State != StateUnknown && p.State != StateAccepted {
		return p, Ignored
	}
	p.Asks++
	return p.askAfter(r, e.At), Noted
}

// suspected takes a payout out of sending because the store is a restored copy:
// the lost one may have sent it.
func suspected(r Rules, p Payout, e Event) (Payout, Effect) {
	if p.State != StateNew {
		return p, Ignored
	}
	p.State = StateUnknown
	p.Doubted = true
	p.Epoch, p.Host, p.EndedAt, p.EndedTick = e.Epoch, e.Host, e.At, e.Tick
	p.LostSince = e.Since
	p.Asks, p.NotSeenAt = 0, time.Time{}
	return p.askAfter(r, e.At), Changed
}

// irrelevant notes that the gate knows the id for something that is no payout.
func irrelevant(r Rules, p Payout, e Event) (Payout, Effect) {
	before := p.Flags
	p.Flags |= OtherType
	if p.Unproven && e.Source == FromStatus {
		p.Flags |= NotOurs
	}
	effect := Changed
	if p.Flags == before {
		effect = Ignored
	}
	if e.Source == FromStatus && (p.State == StateUnknown || p.State == StateAccepted) {
		p.Asks++
		return p.askAfter(r, e.At), max(effect, Noted)
	}
	return p, effect
}

func cancelled(p Payout, e Event) (Payout, Effect) {
	if p.State != StateNew || p.Tries > 0 || p.Seen || p.Doubted {
		return p, Ignored
	}
	p.State = StateCancelled
	p.SettledAt = e.At
	return p, Changed
}

// heard takes over what the gate said.
func heard(p Payout, e Event) Payout {
	if e.Status != "" {
		p.GateStatus = e.Status
	}
	if e.Code != "" || e.Status != "" {
		p.Code, p.Message = e.Code, e.Message
	}
	if e.Operation != "" {
		p.Operation = e.Operation
	}
	if e.Provider != "" {
		p.Provider = e.Provider
	}
	if p.Request == "" {
		p.Request = e.Request
	}
	return withAmount(p, e)
}

func withAmount(p Payout, e Event) Payout {
	if e.Amount != (Amount{}) {
		p.Got = e.Amount
		if e.Amount != p.Amount && !partOf(p, e) {
			p.Flags |= AmountDiffers
		}
	}
	return p
}

// partOf reports whether the gate's smaller amount is what a partly paid
// payout is expected to show.
func partOf(p Payout, e Event) bool {
	partial := e.Outcome == StatePartial || p.State == StatePartial
	return partial && e.Amount.Currency == p.Amount.Currency && e.Amount.Minor <= p.Amount.Minor
}

// mayBeTheirs reports whether a payment that was there before our attempt may
// be somebody else's use of the id: no attempt of ours is in doubt that could
// have made it, and it was not shown to be ours.
func mayBeTheirs(p Payout) bool { return p.Epoch == 0 && !p.Flags.has(WasDoubted|Proved) }

func proved(p Payout, e Event) Payout {
	if e.Theirs {
		p.Flags |= NotOurs
	}
	if e.Ours {
		p.Unproven = false
		p.Flags |= Proved
	}
	return p
}

// askAfter sets the next question: status_after from now, doubled for every
// question in vain, up to 40 times.
func (p Payout) askAfter(r Rules, now time.Time) Payout {
	factor := 1 << min(p.Asks, 6)
	p.AskAt = now.Add(time.Duration(min(factor, maxAskFactor)) * r.statusAfter())
	return p
}

// askWhenQuiet brings the next question forward to the end of the quiet period.
func (p Payout) askWhenQuiet(left time.Duration, now time.Time) Payout {
	if over := now.Add(left); left > 0 && over.Before(p.AskAt) {
		p.AskAt = over
	}
	return p
}

// LongestAsk is the longest time that may lie before the next question about a
// payout.
func (r Rules) LongestAsk() time.Duration {
	return max(maxAskFactor*r.statusAfter(), r.quietPeriod())
}

func (f Flags) has(any Flags) bool { return f&any != 0 }
