package web

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"masspay/payout"
	"masspay/store"
)

// callbacksPage is what this process was told by gates.
type callbacksPage struct {
	*view
	None           bool // this process takes no callbacks
	Since, Last    time.Time
	Counts         []resultCount
	Taken, Refused []heard
	Early          []payout.Event // about ids that no file has brought, the newest first
	EarlyMore      bool           // than were counted
	EarlyN         int
}

type resultCount struct {
	Result string
	N      int
}

// callbacksShown is how many of those that were taken are shown.
const callbacksShown = 200

// How many reports about ids that are not known are counted, and shown.
const (
	earlyCounted = 1000
	earlyShown   = 50
)

func (p *Pages) callbacks(v *view, r *http.Request) (string, any, error) {
	page := callbacksPage{view: v, None: p.Heard == nil}
	v.Title, v.Section = v.T("callbacks.title"), "callbacks"
	v.live(10*time.Second, true)
	early, _, err := look(r.Context(), p, "early", func(ctx context.Context) ([]payout.Event, error) {
		early, err := p.Source.Early(ctx, earlyCounted)
		slices.SortFunc(early, func(a, b payout.Event) int { return b.At.Compare(a.At) })
		return early, err
	})
	if err != nil {
		return "", nil, err
	}
	page.EarlyN, page.EarlyMore, page.Early = len(early), len(early) == earlyCounted, early[:min(len(early), earlyShown)]
	if page.None {
		return "callbacks", page, nil
	}
	counts := p.Heard.Counts()
	for _, r := range heardResults {
		if n := counts[r]; n > 0 {
			page.Counts = append(page.Counts, resultCount{r, int(n)})
		}
	}
	h := p.Heard
	h.mu.Lock()
	defer h.mu.Unlock()
	page.Since, page.Last = h.since, h.last
	page.Taken, page.Refused = h.taken.newest(), h.refused.newest()
	page.Taken = page.Taken[:min(len(page.Taken), callbacksShown)]
	return "callbacks", page, nil
}

// gatePage is how gates answer.
type gatePage struct {
	*view
	Recent  store.Flow // of the newest files
	Plots   []*plot
	States  []stateCount
	Gates   []openGate
	Answers []answerCount
	Times   []timeRow
	Verdict string // id of its words
	Pace    string
	Paused  time.Time // until then nothing is sent; zero: it is
}

// verdict is how a gate does, in a word: whether it answers, and how fast.
func verdict(f *store.Flow) string {
	const slow = 5 * time.Second
	p95, _, answered := f.Quantile(store.AnswerTimes, 0.95)
	switch {
	case f.Answers() == 0:
		return "gate.quiet"
	case (f[store.InDoubt]+f[store.NotSent])*10 > f.Answers():
		return "gate.failing"
	case answered && p95 >= slow:
		return "gate.slow"
	}
	return "gate.normal"
}

type stateCount struct {
	State string
	N     int
}

// inStates are how many payouts are in which state now.
func inStates(t *store.Totals) (all []stateCount) {
	for _, s := range payout.States {
		if n := t.States[s]; n > 0 {
			all = append(all, stateCount{s.String(), int(n)})
		}
	}
	return all
}

// openGate is a gate that open payouts may have been sent to.
type openGate struct {
	Name string
	N    int
}

type answerCount struct {
	Word        string // id
	Of          string // class
	All, Lately int
}

// timeRow is a histogram in three numbers.
type timeRow struct {
	Word          string
	P50, P95, P99 string
	N             int
}

// filesLately are the files whose minutes are what passed of late.
const filesLately = 10

func (p *Pages) gate(v *view, r *http.Request) (string, any, error) {
	ctx := r.Context()
	page := gatePage{view: v}
	totals, at, err := look(ctx, p, "totals", p.Source.Totals)
	if err != nil {
		return "", nil, err
	}
	files, _, err := p.filesBefore(ctx, 0)
	if err != nil {
		return "", nil, err
	}
	var minutes []store.Minute
	since := v.Now.Add(-24 * time.Hour)
	for _, f := range files[:min(len(files), filesLately)] {
		for _, m := range f.minutes {
			if m.At.After(since) {
				minutes = append(minutes, m)
				page.Recent.Plus(&m.Flow)
			}
		}
	}
	slices.SortFunc(minutes, func(a, b store.Minute) int { return a.At.Compare(b.At) })
	page.Plots, page.Verdict, page.States = plotsOf(minutes), verdict(&page.Recent), inStates(&totals)
	page.Pace = v.pacing(minutes, p.Rate)
	open, _, err := look(ctx, p, "open gates", p.Source.OpenGates)
	if err != nil {
		return "", nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(open)) {
		page.Gates = append(page.Gates, openGate{name, open[name]})
	}
	if page.Paused, _, err = look(ctx, p, "paused", p.Source.PausedUntil); err != nil {
		return "", nil, err
	}
	for _, a := range []struct {
		figure    store.Figure
		word, tag string
	}{
		{store.Accepted, "answer.accepted", "paid"}, {store.Taken, "answer.taken", "open"}, {store.Refused, "answer.refused", "declined"}, {store.NotSent, "answer.not_sent", "returned"},
		{store.InDoubt, "answer.in_doubt", "check"}, {store.Told, "answer.told", "open"}, {store.NotSeen, "answer.not_seen", "returned"}, {store.Unchanged, "answer.unchanged", "skipped"},
	} {
		page.Answers = append(page.Answers, answerCount{a.word, a.tag, int(totals.Flow[a.figure]), int(page.Recent[a.figure])})
	}
	for _, t := range []struct {
		times store.Times
		word  string
	}{{store.AnswerTimes, "plot.answers"}, {store.QuestionTimes, "gate.questions"}, {store.OutcomeTimes, "plot.verdicts"}} {
		if n := page.Recent.N(t.times); n > 0 {
			page.Times = append(page.Times, timeRow{t.word, v.within(&page.Recent, t.times, 0.5), v.within(&page.Recent, t.times, 0.95), v.within(&page.Recent, t.times, 0.99), int(n)})
		}
	}
	v.Title, v.Section, v.AsOf = v.T("gate.title"), "gate", at
	v.live(10*time.Second, true)
	return "gate", page, nil
}

// pacing is how many requests a second left in the last whole minute, beside how many may.
func (v *view) pacing(minutes []store.Minute, agreed float64) string {
	last, n := v.Now.UTC().Truncate(time.Minute).Add(-time.Minute), int64(0)
	for i := range minutes {
		if m := &minutes[i]; m.At.Equal(last) {
			n += m.Answers() + m.Questions()
		}
	}
	used := v.separate(strconv.FormatFloat(float64(n)/60, 'f', 1, 64))
	if agreed <= 0 {
		return v.T("gate.pace", "Used", used)
	}
	return v.T("gate.paceof", "Used", used, "Agreed", v.separate(strconv.FormatFloat(agreed, 'f', -1, 64)), "Share", v.Percent(int(n), int(agreed*60)))
}

// within is the bound below which a share of a histogram is.
func (v *view) within(f *store.Flow, t store.Times, share float64) string {
	bound, beyond, ok := f.Quantile(t, share)
	switch {
	case !ok:
		return "–"
	case beyond:
		return "> " + inSeconds(v, bound.Seconds())
	}
	return "≤ " + inSeconds(v, bound.Seconds())
}
