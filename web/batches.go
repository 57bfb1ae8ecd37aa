package web

import (
	"context"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// How many files a page lists, of how many of the newest runs a file's are sought, and how
// many exceptions are counted one by one.
const (
	filesAPage     = 25
	runsLooked     = 300
	exceptionsMost = 200
)

// summary is a batch as people see it.
type summary struct {
	store.Batch
	Total   result.Sum // of all rows but those that were left out
	Paid    result.Sum // arrived
	Partly  result.Sum // of which a part arrived
	NotPaid result.Sum // settled, and nothing arrived, or it came back
	Open    result.Sum
	Unsent  result.Sum // of Open: not sent yet
	Aside   result.Sum // to be checked, or of which a part arrived: with the others all rows, each once
	Check   result.Sum // wants a person, of whatever result
	ByState []stateSum
	Say     statement
	Mile    string    // id of what it has come to, without numbers, which change all the time
	Begun   time.Time // of its first run, as far as that is known
	Spark   template.HTML
}

// stateSum is what of a batch is in one result.state, by currency.
type stateSum struct {
	State  string
	Rows   int
	Amount payout.Amount
}

// statement is what a batch is at, in words: the id of the words, and what they are about.
type statement struct {
	ID     string
	N      int
	Reason string // in the words of whoever stopped it
	By     string
	At     time.Time
	Kind   string // a tag's class
}

// summarize adds up the counts that the store keeps of a batch, and what of it wants a person.
func summarize(b store.Batch, wants wanting) summary {
	s := summary{Batch: b, Check: wants.of[b.Number]}
	all := result.Summary{}
	for _, c := range b.Counts {
		rest := payout.Amount{Minor: c.Amount.Minor - c.Minor, Currency: c.Amount.Currency}
		aside := payout.Amount{Minor: c.Minor, Currency: c.Amount.Currency}
		s.Total.Add(c.N, c.Amount)
		s.Aside.Add(c.Check, aside)
		if wants.more {
			s.Check.Add(c.Check+c.Stuck, aside)
		}
		all.Add(result.StateName(c.State), c.N-c.Check, rest)
		all.Add(result.StateCheck, c.Check, aside)
		switch {
		case c.State == payout.StatePaid:
			s.Paid.Add(c.N-c.Check, rest)
		case c.State == payout.StatePartial:
			s.Partly.Add(c.N-c.Check, rest)
			s.Aside.Add(c.N-c.Check, rest)
		case c.State.Open():
			s.Open.Add(c.N-c.Check, rest)
			if c.State == payout.StateNew {
				s.Unsent.Add(c.N-c.Check, rest)
			}
		default:
			s.NotPaid.Add(c.N-c.Check, rest)
		}
	}
	all.Add(result.StateSkipped, b.Skipped, payout.Amount{})
	for _, state := range result.States {
		sum := all.ByState[state]
		if sum.Rows == 0 {
			continue
		}
		rest := sum.Rows
		for _, a := range sums(sum) {
			n := sum.Money[a.Currency].Rows
			s.ByState = append(s.ByState, stateSum{state, n, a})
			rest -= n
		}
		if rest > 0 {
			s.ByState = append(s.ByState, stateSum{state, rest, payout.Amount{}})
		}
	}
	return s
}

// Strip is how wide the states of a batch are, in thousandths; what is there is seen.
func (s summary) Strip() (parts []stripPart) {
	all := s.Rows
	rows := map[string]int{}
	for _, is := range s.ByState {
		rows[is.State] += is.Rows
	}
	x := 0
	for _, state := range result.States {
		if n := rows[state]; n > 0 {
			parts = append(parts, stripPart{state, n, x, max(n*1000/max(all, 1), 4)})
			x += parts[len(parts)-1].Width
		}
	}
	for i := range parts { // to the thousand
		parts[i].X, parts[i].Width = parts[i].X*1000/max(x, 1), parts[i].Width*1000/max(x, 1)+1
	}
	return parts
}

type stripPart struct {
	State    string
	N        int
	X, Width int
}

// Class and Word name the part in a style sheet and among the words.
func (s stripPart) Class() string { return strings.ReplaceAll(s.State, " ", "-") }
func (s stripPart) Word() string  { return strings.ReplaceAll(s.State, " ", "_") }

// recently is for how long a run of which nothing is known is taken for one that goes on.
const recently = 2 * time.Minute

// say finds what a batch is at. Its runs are the newest first.
func (s *summary) say(runs []store.Run, now time.Time) {
	running := false
	for _, r := range runs {
		if r.Batch != s.ID || !r.Sends() {
			continue
		}
		s.Begun = r.At
		running = running || goesOn(&r, &s.Batch, now)
	}
	open, unsent := s.Open.Rows, s.Unsent.Rows
	switch {
	case unsent > 0 && running:
		s.Mile = "mile.sending"
	case s.Held != nil, unsent > 0 && unsent < s.Total.Rows:
		s.Mile = "mile.held"
	case unsent > 0:
		s.Mile = "mile.new"
	case open > 0:
		s.Mile = "mile.waiting"
	default:
		s.Mile = "mile.settled"
	}
	held := func(id string) statement {
		return statement{ID: id, Reason: s.Held.Reason, By: s.Held.By, At: s.Held.At, Kind: "check"}
	}
	switch {
	case s.Check.Rows > 0:
		s.Say = statement{ID: "say.check", N: s.Check.Rows, Kind: "check"}
	case s.Held.Lasting():
		s.Say = held("say.held")
	case s.Held != nil && !running:
		s.Say = held("say.stopped")
	case s.Total.Rows == 0:
		s.Say = statement{ID: "say.empty", Kind: "skipped"}
	case unsent > 0 && running:
		s.Say = statement{ID: "say.sending", N: unsent, Kind: "open"}
	case unsent == s.Total.Rows:
		s.Say = statement{ID: "say.new", Kind: "open"}
	case unsent > 0:
		s.Say = statement{ID: "say.interrupted", N: unsent, Kind: "check"}
	case open > 0:
		s.Say = statement{ID: "say.waiting", N: open, Kind: "open"}
	case s.NotPaid.Rows == 0:
		s.Say = statement{ID: "say.paid", Kind: "paid"}
	case s.InState(payout.StateCancelled) == s.Total.Rows:
		s.Say = statement{ID: "say.cancelled", Kind: "cancelled"}
	default:
		s.Say = statement{ID: "say.done", N: s.NotPaid.Rows, Kind: "declined"}
	}
}

// common is what most pages show something of. It is read in one look, for all viewers.
type common struct {
	files    []store.Batch // the newest, one more than a page lists
	runs     []store.Run
	names    map[uint32]string // short ids of files
	wanting  wanting
	accepted int64 // payouts that the gate has not decided
	restored bool
	marker   error // it is not known whether the store is a copy
}

// file is a batch with what passed for it.
type file struct {
	store.Batch
	minutes []store.Minute
}

// namesKept are the newest files that rows may be said to be sent by.
const namesKept = 100

func (p *Pages) common(ctx context.Context) (common, time.Time, error) {
	return look(ctx, p, "common", func(ctx context.Context) (c common, err error) {
		if c.runs, err = p.Source.LatestRuns(ctx, 0, runsLooked); err != nil {
			return c, err
		}
		newest, err := p.Source.Latest(ctx, 0, namesKept)
		if err != nil {
			return c, err
		}
		c.names = map[uint32]string{}
		for _, b := range newest {
			c.names[b.Number] = b.Short()
		}
		c.files = newest[:min(len(newest), filesAPage+1)]
		totals, err := p.Source.Totals(ctx)
		if err != nil {
			return c, err
		}
		c.accepted = totals.States[payout.StateAccepted]
		if p.Restored != nil {
			c.restored, c.marker = p.Restored(ctx)
		}
		c.wanting, err = p.countWanting(ctx)
		return c, err
	})
}

// filesBefore are files with what passed for them, the newest first, one more than a page lists.
func (p *Pages) filesBefore(ctx context.Context, before uint32) ([]file, time.Time, error) {
	return look(ctx, p, "files "+strconv.FormatUint(uint64(before), 10), func(ctx context.Context) ([]file, error) {
		some, err := p.Source.Latest(ctx, before, filesAPage+1)
		if err != nil {
			return nil, err
		}
		return p.withMinutes(ctx, some)
	})
}

func (p *Pages) withMinutes(ctx context.Context, list []store.Batch) (files []file, err error) {
	for _, b := range list {
		minutes, err := p.Source.Minutes(ctx, b.ID)
		if err != nil {
			return nil, err
		}
		files = append(files, file{b, minutes})
	}
	return files, nil
}

// batchesPage lists the files, the newest first.
type batchesPage struct {
	*view
	Files  []summary
	Next   uint32 // to go on with; 0: there are no more
	First  bool
	Wants  []want
	Query  url.Values
	Kinds  []string // what files may be at, for the form
	Looked int      // files that were looked at for the query; 0: there is none
}

// fileKinds are what files may be at: the classes of statements.
var fileKinds = []string{"open", "check", "paid", "declined", "cancelled"}

// filesLooked is how many files a page looks at for a query.
const filesLooked = 2000

// foundFiles are files that a query is for.
type foundFiles struct {
	files  []file
	next   uint32
	looked int
}

// like finds files by a query: a part of the name, the days on which they were loaded, and
// what they are at.
func (p *Pages) like(v *view, q url.Values, before uint32, c *common) (func(ctx context.Context) (foundFiles, error), error) {
	name, kind := strings.ToLower(strings.TrimSpace(q.Get("name"))), q.Get("state")
	var from, to time.Time
	for day, at := range map[string]*time.Time{"from": &from, "to": &to} {
		if text := q.Get(day); text != "" {
			is, err := time.ParseInLocation(time.DateOnly, text, v.Zone)
			if err != nil {
				return nil, badQuery("fail.day")
			}
			*at = is
		}
	}
	wants := func(b *store.Batch) bool {
		if !strings.Contains(strings.ToLower(b.Name), name) || b.LoadedAt.Before(from) || !to.IsZero() && !b.LoadedAt.Before(to.AddDate(0, 0, 1)) {
			return false
		}
		if kind == "" {
			return true
		}
		s := summarize(*b, c.wanting)
		s.say(c.runs, v.Now)
		return s.Say.Kind == kind
	}
	return func(ctx context.Context) (out foundFiles, err error) {
		const burst = 200
		last := before
		for out.looked < filesLooked {
			some, err := p.Source.Latest(ctx, last, burst)
			if err != nil {
				return out, err
			}
			for i := range some {
				last = some[i].Number
				if out.looked++; !wants(&some[i]) {
					continue
				}
				if len(out.files) == filesAPage {
					return out, nil
				}
				out.files, out.next = append(out.files, file{Batch: some[i]}), last
			}
			if len(some) < burst {
				out.next = 0
				return out, nil
			}
		}
		out.next = last
		return out, nil
	}, nil
}

// want is something that wants a person.
type want struct {
	Text, Link, Paste string
}

func (p *Pages) batches(v *view, r *http.Request) (string, any, error) {
	ctx := r.Context()
	before, _ := strconv.ParseUint(r.URL.Query().Get("before"), 10, 32)
	all, _, err := p.common(ctx)
	if err != nil {
		return "", nil, err
	}
	q := r.URL.Query()
	queried := q.Get("name")+q.Get("from")+q.Get("to")+q.Get("state") != ""
	page := batchesPage{view: v, First: before == 0 && !queried, Query: q, Kinds: fileKinds}
	var list []file
	var at time.Time
	if queried {
		find, err := p.like(v, q, uint32(before), &all)
		if err != nil {
			return "", nil, err
		}
		key := r.URL.Query()
		key.Del("live")
		var found foundFiles
		if found, at, err = look(ctx, p, "like "+v.Zone.String()+" "+key.Encode(), find); err != nil {
			return "", nil, err
		}
		list, page.Next, page.Looked = found.files, found.next, found.looked
	} else if list, at, err = p.filesBefore(ctx, uint32(before)); err != nil {
		return "", nil, err
	}
	var copied backup
	if p.Copies && page.First {
		if copied, err = p.backup(ctx); err != nil {
			return "", nil, err
		}
	}
	v.Title, v.Section, v.AsOf = v.T("batches.title"), "batches", at
	changes := false
	for i, b := range list {
		if i == filesAPage {
			page.Next = list[i-1].Number
			break
		}
		s := summarize(b.Batch, all.wanting)
		s.say(all.runs, v.Now)
		s.Spark = spark(v, b.minutes)
		changes = changes || s.Open.Rows > 0
		page.Files = append(page.Files, s)
	}
	v.live(10*time.Second, changes)
	if page.First {
		page.Wants = p.wants(v, page.Files, &all, copied)
	}
	return "batches", page, nil
}

// wants gathers what wants a person.
func (p *Pages) wants(v *view, files []summary, c *common, copied backup) (all []want) {
	if c.marker != nil {
		all = append(all, want{Text: v.T("want.marker"), Paste: "masspay doctor"})
	} else if c.restored {
		all = append(all, want{Text: v.T("want.restored"), Paste: "masspay doctor"})
	}
	if w := c.wanting; w.questions.N > 0 {
		all = append(all, want{Text: v.T("want.clarify", "N", w.questions.N, "By", v.Moment(w.questions.AnswerBy)), Link: p.link("/exceptions")})
	}
	if p.Heard.silent(v.Now) && c.accepted > 0 {
		all = append(all, want{Text: v.T("want.silent", "N", int(c.accepted)), Link: p.link("/callbacks")})
	}
	switch {
	case c.wanting.more:
		all = append(all, want{Text: v.T("want.many", "Most", v.Num(exceptionsMost)), Link: p.link("/exceptions"), Paste: "masspay exceptions"})
	case c.wanting.n > 0:
		all = append(all, want{Text: v.T("want.exceptions", "N", c.wanting.n), Link: p.link("/exceptions"), Paste: "masspay exceptions"})
	}
	for i := range files {
		f := &files[i]
		link := p.link("/batches/" + f.Short())
		if open := f.Open.Rows - f.Unsent.Rows; open > 0 && f.Say.ID != "say.sending" {
			all = append(all, want{Text: v.T("want.open", "File", f.Name, "N", open), Link: link + "/rows?result=open", Paste: "masspay reconcile " + f.Short()})
		}
		switch f.Say.ID {
		case "say.held":
			all = append(all, want{Text: v.T("want.held", "File", f.Name, "Reason", f.Say.Reason), Link: link, Paste: "masspay resume " + f.Short()})
		case "say.stopped":
			all = append(all, want{Text: v.T("want.stopped", "File", f.Name, "Reason", f.Say.Reason), Link: link, Paste: "masspay run " + result.ShellWord(f.Name)})
		case "say.interrupted":
			all = append(all, want{Text: v.T("want.interrupted", "File", f.Name, "N", f.Say.N), Link: link, Paste: "masspay run " + result.ShellWord(f.Name)})
		}
	}
	for _, r := range wordless(c.runs, v.Now) {
		all = append(all, want{Text: v.T("want.gone", "Command", r.Line(), "At", v.Moment(r.At)), Link: p.link("/runs"), Paste: "masspay log"})
	}
	if p.Copies && len(files) > 0 && copied.overdue(v.Now, files[len(files)-1].LoadedAt) {
		all = append(all, want{Text: v.T("want.backup"), Link: p.link("/store"), Paste: "masspay backup FILE"})
	}
	return all
}

// wanting are the payouts that want a person, by the number of the batch that they stand in.
type wanting struct {
	n    int
	of   map[uint32]result.Sum
	more bool // than are counted one by one: of knows some of them only

	questions payout.Questions // about them
}

// countWanting counts them.
func (p *Pages) countWanting(ctx context.Context) (wanting, error) {
	w := wanting{of: map[uint32]result.Sum{}}
	for h, err := range p.Source.List(ctx, store.Filter{Exception: payout.OpenException, Limit: exceptionsMost + 1}) {
		if err != nil {
			return w, err
		}
		w.n++
		w.questions.Add(&h.Payout)
		for _, at := range h.Places {
			sum := w.of[at.Batch]
			sum.Add(1, h.Amount)
			w.of[at.Batch] = sum
		}
	}
	if w.more = w.n > exceptionsMost; w.more {
		clear(w.of)
	}
	return w, nil
}
