package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// showFlags are the flags of show.
type showFlags struct {
	search  batch.Search
	project uint32
	clear   bool
	json    bool
}

func (a *app) showCommand() *cobra.Command {
	var f showFlags
	c := &cobra.Command{
		Use:   "show PAYMENT_ID | --account NUMBER | --name NAME",
		Short: "Show a payout: its row, its state and why, and everything that happened to it",
		Long: `Show a payout: its row (masked), its state and why, and everything that happened to
it. A bare argument is tried as a payment_id, then as an account, then as a name. An
account or a name is searched for in the rows of every batch, the newest first.`,
		Args: args(0, 1, "one payment_id, account or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			f.search.ID = strings.Join(args, "")
			if (f.search.ID == "") == (f.search.Account+f.search.Name == "") {
				return failf(exitConfig, "masspay show PAYMENT_ID", "show: want a payment_id, or --account, or --name; nothing was searched for")
			}
			return a.show(cmd.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.search.Account, "account", "", "find payouts to this account, card or phone `NUMBER`")
	fl.StringVar(&f.search.Name, "name", "", "find payouts to this `NAME`, or to one with these words in it")
	fl.Uint32Var(&f.project, "project", 0, "the project `N` of the payment_id, where several are configured")
	fl.BoolVar(&f.clear, "clear", false, "show personal cells whole; who did so is kept (masspay log)")
	fl.BoolVar(&f.json, "json", false, "print it as JSON")
	return c
}

func (a *app) show(ctx context.Context, f showFlags) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	v, err := a.viewer(ctx, s, c.rules(), f)
	if err != nil {
		return err
	}
	found, err := v.find(ctx, c)
	if err != nil {
		return err
	}
	if f.clear {
		if err := a.record(ctx, c, s, "show --clear"+idsOf(found), "", ""); err != nil {
			return err
		}
	}
	if f.json {
		return a.printJSON(found)
	}
	if len(found) == 1 || f.search.ID != "" && len(found) <= len(c.Projects) {
		for _, p := range found {
			v.print(p)
			if p.Action == result.ActCheck {
				a.say("hint: when a person has looked, to close it: masspay resolve %s --as seen --reason TEXT", shellWord(p.PaymentID))
			}
		}
		return nil
	}
	for _, p := range found {
		v.line(p)
	}
	a.say("hint: everything that happened to the first of them: masspay show %s", shellWord(found[0].PaymentID))
	return nil
}

// idsOf are the payment_ids of what is shown, for the log.
func idsOf(found []shown) (ids string) {
	const most = 20
	for i, p := range found {
		if i == most {
			return ids + " and " + payout.Count(len(found)-most) + " more"
		}
		ids += " " + shellWord(p.PaymentID)
	}
	return ids
}

// viewer shows payouts.
type viewer struct {
	a     *app
	s     store.Store
	f     showFlags
	rules payout.Rules
	names map[uint32]store.Batch
	short map[uint32]string
	runs  map[uint64]store.Run
}

func (a *app) viewer(ctx context.Context, s store.Store, rules payout.Rules, f showFlags) (*viewer, error) {
	v := &viewer{a: a, s: s, f: f, rules: rules, names: map[uint32]store.Batch{}, short: map[uint32]string{}, runs: map[uint64]store.Run{}}
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		v.names[b.Number], v.short[b.Number] = b, b.Short()
	}
	for r, err := range s.Runs(ctx) {
		if err != nil {
			return nil, err
		}
		v.runs[r.Number] = r
	}
	return v, nil
}

// shown is a payout as show prints it, for machines too.
type shown struct {
	PaymentID string       `json:"payment_id"`
	ProjectID uint32       `json:"project_id"`
	Amount    moneyJSON    `json:"amount"`
	To        string       `json:"to"` // masked
	Method    string       `json:"method"`
	State     string       `json:"state"`
	Action    string       `json:"action"`
	Why       string       `json:"why"`
	Reported  string       `json:"reported_status,omitempty"`
	Code      string       `json:"code,omitempty"`
	Message   string       `json:"message,omitempty"`
	Attempts  int          `json:"attempts"`
	NextPoll  *time.Time   `json:"next_poll,omitempty"`
	Family    []shownOther `json:"same_row,omitempty"`
	Rows      []shownRow   `json:"rows"`
	Events    []shownEvent `json:"events"`
	Dropped   int          `json:"events_not_kept,omitempty"`
}

// shownOther is another payout of the same row: its first one, or a retry.
type shownOther struct {
	PaymentID string    `json:"payment_id"`
	Amount    moneyJSON `json:"amount"`
	To        string    `json:"to"`
	State     string    `json:"state"`
}

// shownRow is one row of a file that asks for the payout.
type shownRow struct {
	Batch    string            `json:"batch"`
	File     string            `json:"file"`
	LoadedAt time.Time         `json:"loaded_at"`
	Line     int               `json:"line"`
	Cells    map[string]string `json:"cells"`

	columns, cells []string
}

// shownEvent is one thing that happened to it.
type shownEvent struct {
	At       time.Time  `json:"at"`
	What     string     `json:"event"`
	Text     string     `json:"text"`
	Source   string     `json:"source"`
	Attempt  int        `json:"attempt,omitempty"`
	Run      uint64     `json:"run,omitempty"`
	Person   string     `json:"person,omitempty"`
	Status   string     `json:"reported_status,omitempty"`
	Code     string     `json:"code,omitempty"`
	Message  string     `json:"message,omitempty"`
	Amount   *moneyJSON `json:"amount,omitempty"`
	Field    string     `json:"field_that_differs,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Conflict bool       `json:"conflict,omitempty"`
}

// find finds what was asked for: by id at once, by account and name in the rows.
func (v *viewer) find(ctx context.Context, c *config) ([]shown, error) {
	if id := v.f.search.ID; id != "" {
		found, err := v.byID(ctx, c, id)
		if err != nil || len(found) > 0 {
			return found, err
		}
		for _, q := range []batch.Search{{ID: id}, {Account: id}, {Name: id}} {
			if found, err = v.byRows(ctx, q); err != nil || len(found) > 0 {
				return found, err
			}
		}
	} else if found, err := v.byRows(ctx, v.f.search); err != nil || len(found) > 0 {
		return found, err
	}
	what := strings.TrimSpace(v.f.search.ID + " " + v.f.search.Account + " " + v.f.search.Name)
	return nil, failf(exitConfig, "write an account or a name whole; masspay status lists the files that this store knows",
		"nothing is found that is written as %q; that proves nothing: it may be written otherwise, or in another store", what)
}

// byID finds the payouts that have an id, one for each project.
func (v *viewer) byID(ctx context.Context, c *config, id string) (all []shown, err error) {
	projects := []uint32{v.f.project}
	if v.f.project == 0 {
		projects = nil
		for _, p := range c.Projects {
			projects = append(projects, p.ID)
		}
	}
	for _, p := range projects {
		rec, err := v.s.Get(ctx, payout.Key{ProjectID: p, PaymentID: id})
		if errors.Is(err, store.ErrUnknown) {
			continue
		}
		if err != nil {
			return nil, err
		}
		one, err := v.shown(ctx, rec)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// mostFound is how many payouts a search shows.
const mostFound = 200

// byRows searches the rows of all batches, the newest first, and tells how far it is.
func (v *viewer) byRows(ctx context.Context, q batch.Search) (all []shown, err error) {
	seen := map[uint64]bool{}
	told := time.Now()
	rows := 0
	q.Begin = func(b store.Batch) {
		if time.Since(told) > time.Second {
			v.a.say("searched %s, now batch %s (%s)", count(rows, "row"), b.Short(), b.Name)
			told = time.Now()
		}
		rows += b.Rows
	}
	for found, err := range batch.Find(ctx, v.s, q) {
		if err != nil {
			return nil, err
		}
		if found.Line.Skip != "" {
			all = append(all, v.leftOut(found))
			continue
		}
		if p := found.Line.Payout; !seen[p.Number] && (v.f.project == 0 || p.Key.ProjectID == v.f.project) {
			seen[p.Number] = true
			rec, err := v.s.Get(ctx, p.Key)
			if err != nil || rec.Number != p.Number {
				rec = payout.Record{Payout: p} // cancelled, and another has its id by now
			}
			one, err := v.shown(ctx, rec)
			if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
		if len(all) >= mostFound {
			v.a.say("only the newest %d are shown", mostFound)
			break
		}
	}
	return all, nil
}

// leftOut is a row that was never to be sent.
func (v *viewer) leftOut(f batch.Found) shown {
	p := shown{State: result.WordSkipped, Action: result.ActFix, Why: v.notes(f.Batch.Number).Of(f.Line), Rows: []shownRow{}, Events: []shownEvent{}}
	p.Rows = append(p.Rows, v.row(f.Batch, f.Batch.Columns, f.Line))
	p.PaymentID = p.Rows[0].cell("general.payment_id")
	return p
}

func (v *viewer) notes(number uint32) result.Notes {
	return result.Notes{Batch: number, Names: v.short, Rules: v.rules}
}

func (r shownRow) cell(column string) string {
	if i := slices.Index(r.columns, column); i >= 0 && i < len(r.cells) {
		return r.cells[i]
	}
	return ""
}

func (v *viewer) row(b store.Batch, columns []string, l store.Line) shownRow {
	r := shownRow{Batch: b.ID, File: b.Name, LoadedAt: b.LoadedAt, Line: l.Line, Cells: map[string]string{}, columns: columns, cells: l.Cells}
	if !v.f.clear {
		r.cells = payout.MaskCells(columns, l.Cells)
	}
	for i, c := range columns[:min(len(columns), len(r.cells))] {
		r.Cells[c] = r.cells[i]
	}
	return r
}

func (v *viewer) shown(ctx context.Context, rec payout.Record) (shown, error) {
	p := rec.Payout
	one := shown{
		PaymentID: p.Key.PaymentID, ProjectID: p.Key.ProjectID, Amount: moneyJSON(p.Amount), To: p.Masked, Method: p.Method,
		State: result.Word(p), Action: result.Action(p), Reported: p.Reported.Status, Code: p.Reported.Code, Message: p.Reported.Message, Attempts: p.Tries,
		Dropped: p.Dropped, Rows: []shownRow{}, Events: []shownEvent{},
	}
	if p.State.Open() && !p.AskAt.IsZero() {
		one.NextPoll = &p.AskAt
	}
	family, err := v.s.Family(ctx, p.Key)
	if err != nil {
		return one, err
	}
	for _, q := range family {
		if q.Key != p.Key {
			one.Family = append(one.Family, shownOther{q.Key.PaymentID, moneyJSON(q.Amount), q.Masked, result.Word(q)})
		}
	}
	for i, at := range p.Places {
		columns, l, err := v.s.Row(ctx, p, at)
		if err != nil {
			return one, err
		}
		if i == 0 {
			one.Why = v.notes(at.Batch).Of(l)
		}
		one.Rows = append(one.Rows, v.row(v.names[at.Batch], columns, l))
	}
	act, note, err := result.PaidAgain(ctx, v.s, &p)
	if err != nil {
		return one, err
	}
	if act != "" {
		one.Action, one.Why = act, note
	}
	for _, e := range rec.Events {
		one.Events = append(one.Events, v.event(e))
	}
	return one, nil
}

func (v *viewer) event(e payout.Event) shownEvent {
	out := shownEvent{
		At: e.At, What: e.Kind.String(), Text: eventText(e), Source: e.Source.String(), Attempt: e.Attempt, Run: e.Run, Person: e.Person,
		Status: e.Status, Code: e.Code, Message: e.Message, Field: e.Field, Reason: e.Reason, Conflict: e.Conflict,
	}
	if e.Match.Ours() {
		out.Field = ""
	}
	if e.Amount != (payout.Amount{}) {
		m := moneyJSON(e.Amount)
		out.Amount = &m
	}
	return out
}

// eventText says in a sentence what happened.
func eventText(e payout.Event) string {
	switch e.Kind {
	case payout.Claimed:
		return fmt.Sprintf("attempt %d begins, to %s", e.Attempt, e.Host)
	case payout.Released:
		return fmt.Sprintf("attempt %d: nothing was sent", e.Attempt)
	case payout.Unsent:
		return fmt.Sprintf("attempt %d: not sent, or turned away before it was looked at", e.Attempt)
	case payout.Refused:
		return fmt.Sprintf("attempt %d: the gate refused it", e.Attempt)
	case payout.Doubtful:
		return fmt.Sprintf("attempt %d: no usable answer, in doubt", e.Attempt)
	case payout.Orphaned:
		return "the process that sent it ended before an answer was kept: in doubt"
	case payout.Accepted:
		return fmt.Sprintf("attempt %d: the gate accepted it", e.Attempt)
	case payout.Taken:
		return "the gate says that it has this payment_id already"
	case payout.Verdict:
		return "the gate reports an outcome: " + result.StateWord(e.Outcome)
	case payout.Progress:
		return "the gate works on it"
	case payout.NotSeen:
		return "the gate does not know this payment_id"
	case payout.Silent:
		return "polled without a usable answer"
	case payout.Suspected:
		return "the store is a restored copy: the gate is asked before it is sent"
	case payout.Cancelled:
		return "cancelled"
	case payout.Irrelevant:
		return "the gate reports something about this id that is not a payout"
	case payout.Unlisted:
		return "the gate reports a status that a person must read"
	case payout.Lapsed:
		return "the gate ended it without success"
	case payout.Resolved:
		if e.Outcome == 0 {
			return "seen by a person"
		}
		return "resolved by a person: " + strings.ReplaceAll(result.StateWord(e.Outcome), result.WordDeclined, "not paid")
	case payout.PollDue:
		return "a callback that can be read in two ways: the status is polled soon"
	}
	return e.Kind.String()
}

// line shows a payout in one line, of many.
func (v *viewer) line(p shown) {
	money := payout.Amount(p.Amount).String()
	if p.State == result.WordSkipped {
		money = "not sent"
	}
	v.out("%s  %s  %s  %s, %s  %s (%s)", p.PaymentID, money, p.To, p.State, p.Action, p.Rows[0].File, p.Rows[0].LoadedAt.Format(time.DateOnly))
}

func (v *viewer) out(format string, args ...any) {
	_, _ = fmt.Fprintf(v.a.w.stdout, format+"\n", args...)
}

// print shows everything about a payout.
func (v *viewer) print(p shown) {
	v.out("payment_id  %s, project %d", p.PaymentID, p.ProjectID)
	if p.State != result.WordSkipped {
		v.out("amount      %s to %s, %s", payout.Amount(p.Amount), p.To, p.Method)
	}
	v.out("state       %s", p.State)
	v.out("action      %s", p.Action)
	if p.Why != "" {
		v.out("why         %s", p.Why)
	}
	if p.Reported+p.Code+p.Message != "" {
		v.out("reported    %s", reported(p.Reported, p.Code, p.Message))
	}
	if p.NextPoll != nil {
		v.out("next poll   %s, by masspay run or masspay reconcile", p.NextPoll.Format(time.RFC3339))
	}
	for _, q := range p.Family {
		v.out("same row    %s: %s, %s to %s", q.PaymentID, q.State, payout.Amount(q.Amount), q.To)
	}
	for _, r := range p.Rows {
		v.out("row         line %d of %s, batch %s, loaded %s", r.Line, r.File, r.Batch[:min(12, len(r.Batch))], r.LoadedAt.Format(time.RFC3339))
		for i, c := range r.columns {
			if i < len(r.cells) && r.cells[i] != "" {
				v.out("            %s: %s", c, printable(r.cells[i]))
			}
		}
	}
	if len(p.Events) == 0 {
		v.out("history     nothing happened to it yet")
		return
	}
	v.out("history")
	runs := map[uint64]bool{}
	for _, e := range p.Events {
		run := ""
		if e.Run != 0 {
			run = fmt.Sprintf(" (run %d)", e.Run)
		}
		v.out("  %s  %s%s", e.At.UTC().Format(time.RFC3339), e.Text, run)
		if detail := e.detail(); detail != "" {
			v.out("                        %s", detail)
		}
		runs[e.Run] = e.Run != 0
	}
	if p.Dropped > 0 {
		v.out("  %s between them were not kept", count(p.Dropped, "event"))
	}
	for _, e := range p.Events {
		if r, ok := v.runs[e.Run]; ok && runs[e.Run] {
			runs[e.Run] = false
			v.out("run %-7d masspay %s%s by %s@%s, %s, version %s", r.Number, r.Command, behind(" ", r.File), r.User, r.Host, r.At.UTC().Format(time.RFC3339), r.Version)
		}
	}
}

func behind(space, s string) string {
	if s == "" {
		return ""
	}
	return space + s
}

// detail is what else is known of an event.
func (e shownEvent) detail() string {
	from := map[string]string{"run": "", "callback": "callback", "status": "poll", "person": "", "store": "store"}[e.Source]
	parts := []string{from, reported(e.Status, e.Code, e.Message)}
	if e.Amount != nil {
		parts = append(parts, "amount "+payout.Amount(*e.Amount).String())
	}
	if e.Field != "" {
		parts = append(parts, "of another payment, "+e.Field+" differs or is missing: not believed")
	}
	if e.Conflict {
		parts = append(parts, "contradicts what was known")
	}
	if e.Person != "" {
		parts = append(parts, "by "+e.Person)
	}
	if e.Reason != "" {
		parts = append(parts, "reason: "+e.Reason)
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// reported is what the gate said, in its own words.
func reported(status, code, message string) string {
	var parts []string
	if status != "" {
		parts = append(parts, strconv.Quote(status))
	}
	if code != "" {
		parts = append(parts, "code "+code)
	}
	if message != "" {
		parts = append(parts, printable(message))
	}
	return strings.Join(parts, ", ")
}

// printable is a text of others on one line, as it may be shown.
func printable(s string) string {
	return withoutControls(strings.ReplaceAll(s, "\n", " "))
}
