package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// payoutPage is one payout, and its life.
type payoutPage struct {
	*view
	P           payout.Payout
	Do, Why     string // result.action, and why it is what it is
	Rows        []placed
	Family      []payout.Payout
	Life        []lived
	NextPoll    time.Time
	Closing     result.Closing
	Close, Show string // commands
}

// placed is a row that asks for the payout.
type placed struct {
	File store.Batch
	Line int
}

// lived is something that happened to it.
type lived struct {
	payout.Event
	Text  string
	After time.Duration // since the one before; 0: it is the first
	First bool
	Run   *store.Run // nil: not known
}

func (p *Pages) payout(v *view, r *http.Request) (string, any, error) {
	ctx, q := r.Context(), r.URL.Query()
	project, err := strconv.ParseUint(q.Get("project"), 10, 32)
	if err != nil || q.Get("id") == "" {
		return "", nil, store.ErrNoPayout
	}
	key := payout.Key{ProjectID: uint32(project), PaymentID: q.Get("id")}
	all, _, err := p.common(ctx)
	if err != nil {
		return "", nil, err
	}
	seen, at, err := look(ctx, p, "payout "+key.String(), func(ctx context.Context) (seenPayout, error) { return p.seePayout(ctx, key, all.names) })
	if err != nil {
		return "", nil, err
	}
	h := seen.History
	page := payoutPage{
		view: v, P: h.Payout, Do: result.Action(h.Payout), Why: seen.why, Rows: seen.rows, Family: seen.family, Life: lifeOf(h.Events, all.runs),
		Show: "masspay show " + result.ShellWord(key.PaymentID), Closing: result.ClosingOf(&h.Payout),
	}
	if seen.act != "" {
		page.Do = seen.act
	}
	if h.State.Open() {
		page.NextPoll = h.PollAt
	}
	if page.Do == result.ActionCheck {
		page.Close = page.Closing.ToPaste(key.PaymentID)
	}
	v.Title, v.AsOf, v.Section = key.PaymentID, at, "batches"
	v.live(2*time.Second, h.State.Open())
	return "payout", page, nil
}

// seenPayout is a payout as one look finds it.
type seenPayout struct {
	payout.History
	rows     []placed
	family   []payout.Payout // other payouts of its row
	act, why string          // what is to be done where another one pays its row; why it is what it is
}

func (p *Pages) seePayout(ctx context.Context, key payout.Key, names map[uint32]string) (s seenPayout, err error) {
	if s.History, err = p.Source.Get(ctx, key); err != nil {
		return s, err
	}
	for i, at := range s.Places {
		b, there, err := store.BatchNumbered(ctx, p.Source, at.Batch)
		if err != nil {
			return s, err
		}
		if !there {
			continue
		}
		rows, err := p.Source.Page(ctx, store.PageQuery{Batch: b.ID, From: int(at.Index), Limit: 1})
		if err != nil || len(rows.Rows) == 0 {
			return s, errors.Join(err, store.ErrNoPayout)
		}
		if i == 0 {
			s.why = (result.Notes{Batch: at.Batch, Names: names, Rules: p.Rules}).Of(store.Line{Payout: s.Payout})
		}
		s.rows = append(s.rows, placed{b, rows.Rows[0].Line})
	}
	family, err := p.Source.Family(ctx, key)
	if err != nil {
		return s, err
	}
	s.family = slices.DeleteFunc(slices.Clone(family), func(q payout.Payout) bool { return q.Key == key })
	act, note, err := result.PaidAgain(ctx, p.Source, &s.Payout)
	if act != "" {
		s.act, s.why = act, note
	}
	return s, err
}

// lifeOf is what happened, the newest first.
func lifeOf(events []payout.Event, runs []store.Run) (life []lived) {
	for i, e := range events {
		one := lived{Event: e, Text: result.DescribeEvent(e), First: i == 0}
		if i > 0 {
			one.After = e.At.Sub(events[i-1].At)
		}
		for n := range runs {
			if e.Run != 0 && runs[n].Number == e.Run {
				one.Run = &runs[n]
			}
		}
		life = append(life, one)
	}
	slices.Reverse(life)
	return life
}

// findPage is where an id leads that is not known whole.
type findPage struct {
	*view
	ID    string
	Found []payout.Payout
	Files []store.Batch
}

func (p *Pages) find(v *view, r *http.Request) (string, any, error) {
	ctx, id := r.Context(), r.URL.Query().Get("id")
	page := findPage{view: v, ID: id}
	v.Title, v.Section = v.T("find.title"), "find"
	if id == "" {
		return "find", page, nil
	}
	for _, project := range p.Projects {
		key := payout.Key{ProjectID: project, PaymentID: id}
		h, _, err := look(ctx, p, "id "+key.String(), func(ctx context.Context) (payout.History, error) { return p.Source.Get(ctx, key) })
		if errors.Is(err, store.ErrNoPayout) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		page.Found = append(page.Found, h.Payout)
	}
	all, _, err := p.common(ctx)
	if err != nil {
		return "", nil, err
	}
	page.Files = all.files
	return "find", page, nil
}
