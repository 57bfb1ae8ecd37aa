package store

import (
	"slices"
	"time"

	"masspay/payout"
)

// Flow is what passed between masspay and its gates: how many of each Figure.
type Flow [FigureCount]int64

// Figure is one of the numbers of a Flow.
type Figure int

// The figures: answers to payout requests, answers to questions, outcomes, and payouts that
// were freed to be sent again; then three histograms, each with one number for each of its
// bounds, one for what is beyond them, and a sum.
const (
	Accepted Figure = iota // the gate took the request
	Taken                  // it has the id already
	Refused                // as documented
	NotSent                // it did not become a payment
	InDoubt                // no answer, or none that can be relied on

	Told      // a question brought something new
	NotSeen   // the gate does not know the id
	Unchanged // nothing new, or no usable answer

	Paid
	Partly
	Declined
	Rejected
	Returned

	Freed

	firstTime
)

// Times is one of the histograms of a Flow.
type Times int

// The histograms. The zero value is the first.
const (
	AnswerTimes   Times = iota // of payout requests that were answered or not, until that was known
	QuestionTimes              // of status requests
	OutcomeTimes               // from the first request of a payout until its outcome
)

// bounds are the upper bounds of histograms, in the order of Times.
var bounds = [...][]time.Duration{
	AnswerTimes:   requestBounds,
	QuestionTimes: requestBounds,
	OutcomeTimes:  {time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour},
}

var requestBounds = []time.Duration{
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// boundsEach is how many bounds each histogram has, and FigureCount how many numbers a Flow.
const (
	boundsEach  = 9
	FigureCount = int(firstTime) + 3*(boundsEach+2)
)

// Bounds are the upper bounds of a histogram.
func (t Times) Bounds() []time.Duration { return bounds[t] }

func (t Times) first() int { return int(firstTime) + int(t)*(boundsEach+2) }

// Histogram are the numbers of one: how many up to each of its bounds and above the one before,
// how many beyond the last, and the sum of all.
func (f *Flow) Histogram(t Times) (counts []int64, sum time.Duration) {
	at := t.first()
	return f[at : at+boundsEach+1], time.Duration(f[at+boundsEach+1]) * time.Millisecond
}

func (f *Flow) took(t Times, d time.Duration) {
	if d < 0 {
		return // a clock was set
	}
	i, _ := slices.BinarySearch(t.Bounds(), d)
	f[t.first()+i]++
	f[t.first()+boundsEach+1] += d.Milliseconds()
}

// N is how many are in a histogram.
func (f *Flow) N(t Times) (n int64) {
	counts, _ := f.Histogram(t)
	for _, c := range counts {
		n += c
	}
	return n
}

// Quantile is the bound below which a share of a histogram is, for people: at most as exact
// as the bounds are. beyond says that it is above the last one; ok that there is anything.
func (f *Flow) Quantile(t Times, share float64) (bound time.Duration, beyond, ok bool) {
	n := f.N(t)
	if n == 0 {
		return 0, false, false
	}
	counts, _ := f.Histogram(t)
	below := int64(0)
	for i, b := range t.Bounds() {
		below += counts[i]
		if float64(below) >= share*float64(n) {
			return b, false, true
		}
	}
	return t.Bounds()[boundsEach-1], true, true
}

// Plus adds another flow.
func (f *Flow) Plus(g *Flow) {
	for i := range f {
		f[i] += g[i]
	}
}

// Answers are all payout requests that were answered, or came to an end without an answer.
func (f *Flow) Answers() int64 { return f[Accepted] + f[Taken] + f[Refused] + f[NotSent] + f[InDoubt] }

// Questions are all status requests.
func (f *Flow) Questions() int64 { return f[Told] + f[NotSeen] + f[Unchanged] }

// Outcomes are all payouts that got an outcome.
func (f *Flow) Outcomes() int64 { return f[Paid] + f[Partly] + f[Declined] + f[Rejected] + f[Returned] }

var outcomeFigures = map[payout.State]Figure{
	payout.StatePaid: Paid, payout.StatePartial: Partly, payout.StateDeclined: Declined, payout.StateRejected: Rejected, payout.StateReturned: Returned,
}

var answerFigures = map[payout.Kind]Figure{
	payout.Accepted: Accepted, payout.Taken: Taken, payout.Refused: Refused, payout.Unsent: NotSent, payout.Doubtful: InDoubt,
}

// Add counts what an event was and did, if that is one of the figures.
func (f *Flow) Add(e *payout.Event, c *Change) (counted bool) {
	switch e.Source {
	case payout.FromRun:
		figure, is := answerFigures[e.Kind]
		if !is {
			break // a claim, or one that was given back
		}
		counted = true
		f[figure]++
		if e.Took > 0 {
			f.took(AnswerTimes, e.Took)
		}
	case payout.FromStatus:
		counted = true
		switch {
		case e.Kind == payout.NotSeen:
			f[NotSeen]++
		case c.Effect == payout.Changed || c.Effect == payout.Conflicting:
			f[Told]++
		default:
			f[Unchanged]++
		}
		if e.Took > 0 {
			f.took(QuestionTimes, e.Took)
		}
	}
	if c.Freed() {
		counted = true
		f[Freed]++
	}
	if figure, is := outcomeFigures[c.After.State]; is && c.Was != c.After.State {
		counted = true
		f[figure]++
		if !c.After.FirstSent.IsZero() && !c.After.FinalAt.IsZero() {
			f.took(OutcomeTimes, c.After.FinalAt.Sub(c.After.FirstSent))
		}
	}
	return counted
}

// FlowKey is a batch, by its number, and a minute, counted from 1970.
type FlowKey struct{ Batch, Minute uint32 }

// At is when the minute begins.
func (k FlowKey) At() time.Time { return time.Unix(int64(k.Minute)*60, 0).UTC() }

// Counting is what a commit adds to the totals and to the minutes of batches.
type Counting struct {
	Totals Totals
	Flows  map[FlowKey]*Flow
}

// Count counts what an event was and did: for all, and for the batch that sent the payout.
func (c *Counting) Count(e *payout.Event, change *Change) {
	c.Totals.States[change.Was]--
	c.Totals.States[change.After.State]++
	if batch := change.After.SentBy; c.Totals.Add(e, change) && batch != 0 {
		c.Flow(batch, e.At).Add(e, change)
	}
}

// CountKept counts what is known of a payout by the events that were kept of it, for stores that
// have not counted as it went: how long requests took is not known.
func (c *Counting) CountKept(h *payout.History) {
	c.Totals.States[h.State]++
	countKept(h, func(at time.Time, add func(*Flow)) {
		add(&c.Totals.Flow)
		if h.SentBy != 0 {
			add(c.Flow(h.SentBy, at))
		}
	})
}

// Flow is what the commit adds for a batch, in the minute of a moment.
func (c *Counting) Flow(batch uint32, at time.Time) *Flow {
	key := FlowKey{batch, uint32(max(at.Unix()/60, 0))}
	if c.Flows == nil {
		c.Flows = map[FlowKey]*Flow{}
	}
	if c.Flows[key] == nil {
		c.Flows[key] = &Flow{}
	}
	return c.Flows[key]
}

// FlowOf reads a flow's numbers; what a newer masspay has counted more is left out.
func FlowOf(numbers []int64) (f Flow) {
	copy(f[:], numbers)
	return f
}

// countKept gives what events tell, each with when it was.
func countKept(h *payout.History, count func(at time.Time, add func(*Flow))) {
	same := Change{Was: h.State, After: h.Payout}
	for i := range h.Events {
		e, c := &h.Events[i], same
		if e.Kind == payout.Final {
			c.Effect = payout.Changed
		}
		if (&Flow{}).Add(e, &c) {
			count(e.At, func(f *Flow) { f.Add(e, &c) })
		}
	}
	if _, is := outcomeFigures[h.State]; is {
		count(h.FinalAt, func(f *Flow) { f.Add(&payout.Event{}, &Change{After: h.Payout}) })
	}
}

// Minute is what passed for payouts of a batch within a minute.
type Minute struct {
	At time.Time // its beginning
	Flow
}

// Totals are over all time and all batches: what passed, and how many payouts are in each
// state now, each counted once.
type Totals struct {
	Flow
	States [payout.StateCancelled + 1]int64 // by payout.State
}

// Plus adds other totals.
func (t *Totals) Plus(u *Totals) {
	t.Flow.Plus(&u.Flow)
	for i := range t.States {
		t.States[i] += u.States[i]
	}
}

// Numbers are the totals as stores keep them: states first, so that figures can be added.
func (t *Totals) Numbers() []int64 { return append(slices.Clone(t.States[:]), t.Flow[:]...) }

// TotalsOf reads Numbers; what a newer masspay has counted more is left out.
func TotalsOf(numbers []int64) (t Totals) {
	n := copy(t.States[:], numbers)
	copy(t.Flow[:], numbers[n:])
	return t
}

// Lacks says what is wrong with totals that are less than a sum of minutes.
func (t *Totals) Lacks(sum *Flow) string {
	for i := range sum {
		if sum[i] < 0 || sum[i] > t.Flow[i] {
			return "the figures of minutes add up to more than their totals"
		}
	}
	for state, figure := range outcomeFigures {
		if t.Flow[figure] < t.States[state] {
			return "fewer outcomes were counted than payouts have: " + state.String()
		}
	}
	return ""
}
