package main

import (
	"context"
	"errors"
	"slices"
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
			if do := p.closes.ToPaste(p.PaymentID); p.Action == result.ActionCheck && do != "" {
				a.say("hint: %s: %s", p.closes.When, do)
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
			return ids + " and " + payout.FormatNumber(len(found)-most) + " more"
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

	closes result.Closing
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
		if errors.Is(err, store.ErrNoPayout) {
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
				rec = payout.History{Payout: p} // cancelled, and another has its id by now
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
	p := shown{State: result.StateSkipped, Action: result.ActionFix, Why: v.notes(f.Batch.Number).Of(f.Line), Rows: []shownRow{}, Events: []shownEvent{}}
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
