package web

import (
	"context"
	"net/http"
	"slices"
	"time"

	"masspay/batch/result"
	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// batchPage is one file.
type batchPage struct {
	*view
	summary
	Reasons []reason
	Runs    []store.Run
	Before  *store.Batch // the file before it
	Report  string       // command
	Tell    []string
	Plots   []*plot
	Todo    []todo // of what was not paid
}

// reason is a code with which rows were not paid.
type reason struct {
	State, Code, Message, Action string
	Rows                         int
	Amount                       payout.Amount
}

// Returned reports whether the money arrived first, and came back: its code is of the arrival.
func (r reason) Returned() bool { return r.State == result.StateReturned }

// lookBatch reads one batch.
func (p *Pages) lookBatch(ctx context.Context, id string) (store.Batch, time.Time, error) {
	return look(ctx, p, "batch "+id, func(ctx context.Context) (store.Batch, error) { return p.Source.Batch(ctx, id) })
}

// seenFile is a file as one look finds it.
type seenFile struct {
	file
	before []store.Batch // the one before it
}

func (p *Pages) seeFile(ctx context.Context, id string) (seenFile, time.Time, error) {
	return look(ctx, p, "file "+id, func(ctx context.Context) (s seenFile, err error) {
		if s.Batch, err = p.Source.Batch(ctx, id); err != nil {
			return s, err
		}
		if s.minutes, err = p.Source.Minutes(ctx, s.ID); err != nil || s.Number <= 1 {
			return s, err
		}
		s.before, err = p.Source.Latest(ctx, s.Number, 1)
		return s, err
	})
}

func (p *Pages) batch(v *view, r *http.Request) (string, any, error) {
	ctx := r.Context()
	seen, at, err := p.seeFile(ctx, r.PathValue("id"))
	if err != nil {
		return "", nil, err
	}
	all, _, err := p.common(ctx)
	if err != nil {
		return "", nil, err
	}
	b := seen.Batch
	page := batchPage{view: v, summary: summarize(b, all.wanting), Reasons: reasons(b), Report: "masspay report " + b.Short() + " -o result.csv"}
	page.say(all.runs, v.Now)
	page.Tell = v.tell(&page.summary)
	for _, run := range all.runs {
		if run.Batch == b.ID {
			page.Runs = append(page.Runs, run)
		}
	}
	page.Plots, page.Todo = plotsOf(seen.minutes), todoOf(page.Reasons)
	if page.Say.ID == "say.sending" {
		page.Tell = append(page.Tell, v.pace(seen.minutes, page.Unsent.Rows)...)
	}
	if len(seen.before) > 0 {
		page.Before = &seen.before[0]
	}
	v.Title, v.Section, v.AsOf, v.Footer = b.Name, "batches", at, b.Name+", SHA-256 "+b.ID
	v.live(2*time.Second, page.Open.Rows > 0)
	return "batch", page, nil
}

// todo is how many rows that were not paid want the same.
type todo struct {
	Action string
	Rows   int
}

// todoOf adds up what reasons want, in the order of the actions.
func todoOf(all []reason) (list []todo) {
	rows := map[string]int{}
	for _, r := range all {
		rows[r.Action] += r.Rows
	}
	for _, action := range result.Actions {
		if rows[action] > 0 {
			list = append(list, todo{action, rows[action]})
		}
	}
	return list
}

// reasons are the codes with which rows of a batch were not paid, the most rows first.
func reasons(b store.Batch) (all []reason) {
	for _, c := range b.Counts {
		settled := c.State == payout.StateDeclined || c.State == payout.StateRejected || c.State == payout.StateReturned
		if n := c.N - c.Check; settled && n > 0 {
			is := payout.Payout{State: c.State, Reported: payout.Reported{Code: c.Code}}
			r := reason{
				State: result.StateName(c.State), Code: c.Code, Message: gate.MessageOf(c.Code), Action: result.Action(is), Rows: n,
				Amount: payout.Amount{Minor: c.Amount.Minor - c.Minor, Currency: c.Amount.Currency},
			}
			if c.Code == store.OtherCodes {
				r.Action = "" // each row says it
			}
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b reason) int { return b.Rows - a.Rows })
	return all
}

// tell says what became of a file's money, in sentences.
func (v *view) tell(s *summary) (sentences []string) {
	add := func(id string, n int, args ...any) {
		if n > 0 {
			sentences = append(sentences, v.T(id, append([]any{"N", n}, args...)...))
		}
	}
	add("tell.arrived", s.Total.Rows, "Paid", v.Num(s.Paid.Rows), "All", v.Num(s.Total.Rows))
	add("tell.partly", s.Partly.Rows)
	add("tell.notpaid", s.NotPaid.Rows)
	add("tell.unsent", s.Unsent.Rows)
	add("tell.waiting", s.Open.Rows-s.Unsent.Rows)
	add("tell.check", s.Check.Rows)
	if s.Open.Rows == 0 && s.Check.Rows == 0 && s.Total.Rows > 0 {
		sentences = append(sentences, v.T("tell.settled"))
	}
	return sentences
}

// minutes are what passed for a file.
func (p *Pages) minutes(ctx context.Context, id string) ([]store.Minute, error) {
	minutes, _, err := look(ctx, p, "minutes "+id, func(ctx context.Context) ([]store.Minute, error) { return p.Source.Minutes(ctx, id) })
	return minutes, err
}

// paceOver is over how long the pace of now is measured.
const paceOver = 5 * time.Minute

// pace says how fast a file is sent now, and how long the rest takes.
func (v *view) pace(minutes []store.Minute, unsent int) []string {
	sent := int64(0)
	since := v.Now.Add(-paceOver)
	first := v.Now
	for i := range minutes {
		if minutes[i].At.Before(since) || minutes[i].Answers() == 0 {
			continue
		}
		if minutes[i].At.Before(first) {
			first = minutes[i].At
		}
		sent += minutes[i].Answers()
	}
	span := v.Now.Sub(first)
	if sent == 0 || span < 10*time.Second {
		return nil
	}
	left := time.Duration(float64(unsent) / float64(sent) * float64(span))
	return []string{v.T("pace", "Rate", v.Num(int(float64(sent)/span.Minutes())), "Left", v.Span(left), "Until", v.Now.Add(left).In(v.Zone).Format(timeLayouts[v.Lang].minute))}
}

// Sum256 is the command that shows whether a file is the one that was loaded.
func (p batchPage) Sum256() string { return "sha256sum " + result.ShellWord(p.Name) }
