package web

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// comparePage holds two files beside each other.
type comparePage struct {
	*view
	A, B  summary
	Lines []compared

	Both   []payout.Payout // that stand in both
	Next   int             // row of B to go on with; -1: there are no more
	Looked int             // rows of B
	Early  bool            // the search stopped before the end with room left
}

// compared is a line of both, with the difference.
type compared struct {
	Group string // heading of its own before it; empty: none
	What  string
	A, B  string
	Diff  string
}

func (p *Pages) compare(v *view, r *http.Request) (string, any, error) {
	ctx, q := r.Context(), r.URL.Query()
	var files [2]seenFile
	for i, id := range []string{q.Get("a"), q.Get("b")} {
		f, at, err := p.seeFile(ctx, id)
		if err != nil {
			return "", nil, err
		}
		files[i], v.AsOf = f, at
	}
	from, err := strconv.Atoi(q.Get("after"))
	if err != nil {
		from = 0
	}
	a, b := files[0].Batch, files[1].Batch
	found, _, err := look(ctx, p, "both "+a.ID+" "+b.ID+" "+strconv.Itoa(from), func(ctx context.Context) (store.Page, error) {
		return p.Source.Page(ctx, store.PageQuery{Batch: b.ID, From: from, Limit: rowsAPage, Wants: func(l *store.Line) bool { return l.Skip == "" && l.Payout.In(a.Number) }})
	})
	if err != nil {
		return "", nil, err
	}
	page := comparePage{view: v, Next: found.Next, Looked: max(from, 0) + found.Looked, Early: found.Next >= 0 && len(found.Rows) < rowsAPage, A: summarize(files[0].Batch, wanting{}), B: summarize(files[1].Batch, wanting{})}
	page.Lines = v.compared(&page.A, &page.B, [2][]store.Minute{files[0].minutes, files[1].minutes})
	for i := range found.Rows {
		page.Both = append(page.Both, found.Rows[i].Payout)
	}
	v.Title, v.Section = v.T("compare.title"), "batches"
	return "compare", page, nil
}

// compared are the lines of two files.
func (v *view) compared(a, b *summary, minutes [2][]store.Minute) (lines []compared) {
	number := func(what string, x, y int) {
		if x == 0 && y == 0 {
			return
		}
		diff := v.Num(y - x)
		if y > x {
			diff = "+" + diff
		}
		lines = append(lines, compared{What: what, A: v.Num(x), B: v.Num(y), Diff: diff})
	}
	group := func(word string, from int) {
		if len(lines) > from {
			lines[from].Group = v.T(word)
		}
	}
	number(v.T("col.rows"), a.Rows, b.Rows)
	for _, currency := range currenciesOf(a, b) {
		x, y := a.Total.Money[currency], b.Total.Money[currency]
		amount := func(minor int64) string { return v.Money(payout.Amount{Minor: minor, Currency: currency}) }
		diff := amount(y.Minor - x.Minor)
		if y.Minor > x.Minor {
			diff = "+" + diff
		}
		lines = append(lines, compared{What: v.T("col.asked") + ", " + currency, A: amount(x.Minor), B: amount(y.Minor), Diff: diff})
	}
	from := len(lines)
	for _, state := range result.States {
		number(v.StateWord(state), a.rows(state), b.rows(state))
	}
	group("batch.results", from)
	from = len(lines)
	mine, theirs := v.codesOf(a.Batch), v.codesOf(b.Batch)
	for _, code := range slices.Sorted(func(yield func(string) bool) {
		for c := range mine {
			if !yield(c) {
				return
			}
		}
		for c := range theirs {
			if mine[c] == 0 && !yield(c) {
				return
			}
		}
	}) {
		number(code, mine[code], theirs[code])
	}
	group("batch.why", from)
	from = len(lines)
	lines = append(lines, v.times(minutes)...)
	group("batch.went", from)
	return lines
}

// rows are how many rows of a file are in a state of results.
func (s *summary) rows(state string) (n int) {
	for _, is := range s.ByState {
		if is.State == state {
			n += is.Rows
		}
	}
	return n
}

func currenciesOf(all ...*summary) (list []string) {
	for _, s := range all {
		for c := range s.Total.Money {
			if c != "" && !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	slices.Sort(list)
	return list
}

// codesOf are how many rows were not paid, by code and its words.
func (v *view) codesOf(b store.Batch) map[string]int {
	n := map[string]int{}
	for _, r := range reasons(b) {
		words := strings.TrimSpace(r.Code + " " + r.Message)
		switch {
		case r.Returned():
			words = v.T("batch.returned")
		case words == "":
			words = v.T("batch.nocode")
		}
		n[words] += r.Rows
	}
	return n
}

// times are how long two files took.
func (v *view) times(minutes [2][]store.Minute) []compared {
	var took, half, most [2]string
	for i, all := range minutes {
		took[i], half[i], most[i] = "–", "–", "–"
		if len(all) == 0 {
			continue
		}
		var sum store.Flow
		last := all[0].At
		for _, m := range all {
			sum.Plus(&m.Flow)
			if m.Outcomes() > 0 {
				last = m.At
			}
		}
		took[i] = v.Span(last.Sub(all[0].At) + time.Minute)
		half[i], most[i] = v.within(&sum, store.OutcomeTimes, 0.5), v.within(&sum, store.OutcomeTimes, 0.95)
	}
	return []compared{
		{What: v.T("compare.took"), A: took[0], B: took[1]},
		{What: v.T("plot.verdicts") + ": " + v.T("plot.p50"), A: half[0], B: half[1]},
		{What: v.T("plot.verdicts") + ": " + v.T("plot.p95"), A: most[0], B: most[1]},
	}
}

// storePage is what keeps all that.
type storePage struct {
	*view
	Bytes, Free int64 // 0: not known
	Files       int
	FilesMore   bool
	Payouts     int64
	States      []stateCount
	Restored    bool
	Unknown     bool // whether it is a copy
	Head        store.Link
	Copies      bool
	Copied      time.Time // zero: not of late
}

// seenStore is a store as one look finds it.
type seenStore struct {
	totals store.Totals
	head   store.Link
}

func (p *Pages) storePage(v *view, r *http.Request) (string, any, error) {
	ctx := r.Context()
	all, _, err := p.common(ctx)
	if err != nil {
		return "", nil, err
	}
	seen, at, err := look(ctx, p, "store", func(ctx context.Context) (s seenStore, err error) {
		if s.totals, err = p.Source.Totals(ctx); err == nil {
			s.head, err = p.Source.Head(ctx)
		}
		return s, err
	})
	if err != nil {
		return "", nil, err
	}
	page := storePage{view: v, Files: len(all.names), FilesMore: len(all.names) >= namesKept, Restored: all.restored, Unknown: all.marker != nil, Head: seen.head, States: inStates(&seen.totals)}
	for _, s := range payout.States {
		page.Payouts += seen.totals.States[s]
	}
	if page.Copies = p.Copies; p.Copies {
		copied, err := p.backup(ctx)
		if err != nil {
			return "", nil, err
		}
		page.Copied = copied.last
	}
	if p.Size != nil {
		if bytes, free, err := p.Size(); err == nil {
			page.Bytes, page.Free = int64(bytes), int64(free)
		}
	}
	v.Title, v.Section, v.AsOf = v.T("store.title"), "store", at
	return "store", page, nil
}

// Mebibytes is a size for people.
func (v *view) Mebibytes(bytes int64) string { return v.Num(int(bytes>>20)) + "\u00a0MiB" }

// N64 is a number with thousands separators.
func (v *view) N64(n int64) string { return v.separate(payout.FormatNumber(n)) }

// HeadSeq is the number of the log's last entry.
func (p storePage) HeadSeq() int64 { return int64(p.Head.Seq) }
