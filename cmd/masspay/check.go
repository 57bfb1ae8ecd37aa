package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch/payfile"
	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

func (a *app) checkCommand() *cobra.Command {
	var expect expectFlags
	var asJSON bool
	var fix fixFlags
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Read and check a file; send nothing, write nothing",
		Long: `Read and check a file, or standard input for -. Sends nothing and writes nothing.

It works on any desk: without a configuration, a store, its key or a secret it checks
what can be checked without them, and says what it did not look at.`,
		Args: args(1, 1, "one file, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			if fix.wanted {
				return a.fix(cmd.Context(), args[0], fix, expect, asJSON)
			}
			if fix != (fixFlags{}) {
				return failf(exitConfig, "masspay check FILE --fix -o CLEAN.csv", "-o and --changes belong to --fix; nothing was written or sent")
			}
			return a.check(cmd.Context(), args[0], expect, asJSON)
		},
	}
	expect.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print what was found as JSON")
	c.Flags().BoolVar(&expect.writes, "write-ctl", false, "when the file is good, write its control totals beside it, into FILE.ctl")
	c.Flags().BoolVar(&fix.wanted, "fix", false, "write the file again with what has exactly one right form put right, and check that")
	c.Flags().StringVarP(&fix.to, "output", "o", "", "with --fix: the file to write, which must not be there yet")
	c.Flags().StringVar(&fix.changes, "changes", "", "with --fix: write what was changed into this file, as CSV")
	return c
}

func (a *app) check(ctx context.Context, path string, expect expectFlags, asJSON bool) error {
	d, err := a.checkBasis(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	in, err := payfile.Open(path, a.w.stdin)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	k, err := a.checked(ctx, d.config, d.known, path, in, expect, false)
	if err == nil && expect.writes {
		err = a.writeSidecar(path, k)
	}
	if asJSON {
		return errors.Join(err, a.checkJSON(in.Name, k, d.without, err))
	}
	if d.without != "" {
		a.say("not looked at, because %s: payment_ids that were used before, retries%s", d.without, map[bool]string{true: ", projects, limits"}[d.anyProject()])
	}
	if err != nil {
		return err
	}
	a.found(d, k)
	if list, err := d.config.signers(); list != nil {
		beside, err := approvalsBeside(path)
		if err != nil {
			return err
		}
		if j := d.config.judge(list, beside, k.Content); j.Missing != "" {
			a.say("warning: run would stop: %s", j.Missing)
		}
	} else if err != nil {
		a.say("warning: run would stop: %s", oneLine(explain(err).Error()))
	}
	if d.store == nil {
		return nil
	}
	if err := a.wouldRun(ctx, d.config, d.store); err != nil {
		a.say("warning: run would stop: %s", oneLine(explain(err).Error()))
	}
	return nil
}

// writeSidecar writes a file's control totals beside it; those that are there stay.
func (a *app) writeSidecar(path string, k *payfile.Checked) error {
	if path == "-" {
		return failf(exitConfig, "", "--write-ctl: standard input has no place for a file beside it; nothing was written")
	}
	name := payfile.SidecarName(path)
	f, err := newFile(name, "they hold for the file; remove them first, if it was changed on purpose")
	if err != nil {
		return err
	}
	_, err = f.WriteString(k.Sidecar().String())
	if of, look := os.Stat(path); look == nil && err == nil {
		err = f.Chmod(of.Mode().Perm() &^ 0o111) // whoever may read the file must be able to compare it
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(name)
		return err
	}
	a.say("wrote %s: whoever changes the file from now on must write it again", printable(name))
	return nil
}

// checkBasis is what a check has to go by: a configuration and a store where they are
// there.
type checkBasis struct {
	config  *config
	store   store.Store // nil: there is none here
	known   payfile.Known
	without string // why there is none
}

func (d *checkBasis) close() {
	if d.store != nil {
		_ = d.store.Close()
	}
}

// anyProject reports whether no configuration says which projects there are.
func (d *checkBasis) anyProject() bool { return d.config.file == "" }

// checkBasis opens what is there. A store that is there and cannot be used is an error: a
// check must not look whole that was not.
func (a *app) checkBasis(ctx context.Context) (*checkBasis, error) {
	d := &checkBasis{known: payfile.NothingKnown()}
	file, err := findConfig(a.configFlag, a.env)
	if err != nil {
		c := defaultConfig()
		d.config, d.without = &c, "there is no configuration here"
		return d, nil //nolint:nilerr // that there is none is said with what was found
	}
	if d.config, err = loadConfig(file, a.env); err != nil {
		return nil, err
	}
	_, err = d.config.storeKey()
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, errNoKey):
		d.without = "the store's key is not here"
		return d, nil
	case err != nil:
		return nil, err
	}
	s, err := d.config.openStore(ctx, 0)
	switch {
	case errors.Is(err, store.ErrMissing):
		d.without = "there is no store at " + d.config.Store.name()
		return d, nil
	case errors.Is(err, fs.ErrPermission):
		d.without = "the store may not be read by this user"
		return d, nil
	case err != nil:
		return nil, err
	}
	d.store, d.known = s, s
	return d, nil
}

// wouldRun says what would keep run from sending, apart from the file.
func (a *app) wouldRun(ctx context.Context, c *config, s store.Store) error {
	if _, err := c.secrets(); err != nil {
		return err
	}
	if _, err := c.mayNow(time.Now()); err != nil {
		return err
	}
	return mayRun(ctx, s, false)
}

// checked checks a file and tells its warnings.
func (a *app) checked(ctx context.Context, c *config, s payfile.Known, path string, in *payfile.Input, expect expectFlags, skip bool) (*payfile.Checked, error) {
	want, err := expect.expect(c, path)
	if err != nil {
		return nil, err
	}
	if a.w.alone {
		roomForFile(in.Size(), c.bytesOfRow())
	}
	projects := c.hasProject
	if c.file == "" {
		projects = func(uint32) bool { return true } // there is no list of them
	}
	limits, _ := c.Limits.rules() // validated before
	k, err := (&payfile.Checker{Store: s, Projects: projects, Expect: want, Limits: limits, DayBegan: c.Limits.dayBegan(time.Now()), Content: c.Approval.SignersFile != "" || expect.content, Lookalikes: c.Lookalikes.lookalikes(expect.accept, time.Now()), Skip: skip}).Check(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, warning := range k.Warnings {
		a.say("warning: %s: %s", in.Name, warning)
	}
	for _, total := range k.Totals {
		limited := func(l payout.Amount) bool { return l.Currency == total.Currency }
		if len(want.Most) > 0 && !slices.ContainsFunc(want.Most, limited) {
			a.say("warning: %s: no limit is set for %s (limits.run_total)", in.Name, total.Currency)
		}
	}
	return k, nil
}

// found says what is in a good file.
func (a *app) found(d *checkBasis, k *payfile.Checked) {
	how := "no problems"
	if k.Skipped > 0 {
		how = count(k.Skipped, "row") + " left out, which had problems"
	}
	a.say("%s: %s, %s; %s, nothing was sent", printable(k.Name), count(k.Rows-k.Skipped, "payout"), amounts(k.Totals), how)
	a.within(d, k)
	a.wouldSend(k)
	if n := k.ToSend.Rows; n > 0 && d.config.file != "" {
		a.say("%s", forecast(n, d.config.Gate.Rate, time.Now()))
	}
}

// within says what a good file is made of: for whom a person looks at it who knows what
// should be in it.
func (a *app) within(d *checkBasis, k *payfile.Checked) {
	var projects []string
	for _, g := range k.Groups {
		if p := fmt.Sprint(g.Project); !slices.Contains(projects, p) {
			projects = append(projects, p)
		}
	}
	slices.Sort(projects)
	to := ""
	if d.config.file != "" {
		to = " to " + d.config.Gate.BaseURL
	}
	a.say("%s %s%s", map[bool]string{true: "project", false: "projects"}[len(projects) == 1], strings.Join(projects, ", "), to)
	for _, s := range k.Spreads {
		if s.Rows == 1 {
			continue
		}
		show := func(minor int64) string { return payout.Amount{Minor: minor, Currency: s.Currency}.String() }
		a.say("smallest %s, largest %s, average %s", show(s.Least), show(s.Most), show(s.Minor/int64(s.Rows)))
	}
	groupTable(a.w.stderr, k.Groups)
}

// wouldSend says how much run would send, where that is not the whole file.
func (a *app) wouldSend(k *payfile.Checked) {
	switch {
	case k.Before.Rows == 0:
	case k.ToSend.Rows == 0:
		a.say("run would send nothing: all %s are known already (%s)", payout.FormatNumber(k.Before.Rows), inWords(k.Before))
	default:
		a.say("run would send %s, %s; %s are known already (%s)", count(k.ToSend.Rows, "payout"), money(k.ToSend), payout.FormatNumber(k.Before.Rows), inWords(k.Before))
	}
}

// checkReport is what check --json prints.
type checkReport struct {
	File     string        `json:"file"`
	OK       bool          `json:"ok"`
	Complete bool          `json:"complete"` // false: see not_looked_at_because
	Batch    string        `json:"batch,omitempty"`
	Rows     int           `json:"rows"`
	New      int           `json:"new"`
	ToSend   sumJSON       `json:"to_send"`
	Known    int           `json:"known"`
	Totals   []moneyJSON   `json:"totals"`
	Amounts  []spreadJSON  `json:"amounts"`
	Groups   []groupJSON   `json:"groups"`
	Without  string        `json:"not_looked_at_because,omitempty"` // payment_ids that were used before, and retries
	Alike    []alikeJSON   `json:"lookalikes"`
	Count    int           `json:"problem_count"`
	Problems []problemJSON `json:"problems"`
	Warnings []string      `json:"warnings"`
}

type spreadJSON struct {
	Currency string `json:"currency"`
	Rows     int    `json:"rows"`
	Minor    int64  `json:"minor"`
	Least    int64  `json:"least"`
	Most     int64  `json:"most"`
}

type groupJSON struct {
	Project  uint32 `json:"project"`
	Method   string `json:"method"`
	Bank     string `json:"bank,omitempty"`
	Currency string `json:"currency"`
	Rows     int    `json:"rows"`
	Minor    int64  `json:"minor"`
}

type alikeJSON struct {
	Line int    `json:"line"`
	Like int    `json:"like_line,omitempty"` // in the same file
	Kind string `json:"kind"`                // twin: the same amount to the same account; id: an id that is nearly the same; changed: the customer was last paid to another account

	// Of an earlier file: which payout it is like, and how that stands.
	Project   uint32 `json:"like_project_id,omitempty"`
	PaymentID string `json:"like_payment_id,omitempty"`
	State     string `json:"like_state,omitempty"`
}

type problemJSON struct {
	Line   int    `json:"line,omitempty"`
	Column string `json:"column,omitempty"`
	Value  string `json:"value,omitempty"`
	Text   string `json:"text"`
	Rows   int    `json:"rows"`           // that have it
	Also   string `json:"also,omitempty"` // where the others are
}

// moneyJSON is an amount for machines: minor units, no separators.
type moneyJSON struct {
	Minor    int64  `json:"minor"`
	Currency string `json:"currency"`
}

func moneyList(list []payout.Amount) []moneyJSON {
	out := make([]moneyJSON, len(list))
	for i, m := range list {
		out[i] = moneyJSON(m)
	}
	return out
}

func (a *app) checkJSON(name string, k *payfile.Checked, without string, err error) error {
	r := checkReport{File: name, Without: without, OK: err == nil, Complete: without == "", Totals: []moneyJSON{}, Amounts: []spreadJSON{}, Groups: []groupJSON{}, Alike: []alikeJSON{}, Problems: []problemJSON{}, Warnings: []string{}}
	var file *payfile.FileError
	if errors.As(err, &file) {
		r.Count = file.Count
		for _, p := range file.Problems {
			is := problemJSON{Line: p.Line, Column: p.Column, Value: p.Value, Text: p.Text, Rows: p.Rows()}
			if p.Also.N > 0 {
				is.Also = p.Also.String()
			}
			r.Problems = append(r.Problems, is)
		}
	}
	if k != nil {
		r.Batch, r.Rows, r.New, r.Known, r.Totals = k.ID, k.Rows, k.New, k.Known, moneyList(k.Totals)
		r.ToSend = sumReport(k.ToSend)
		for _, l := range k.Alike {
			is := alikeJSON{Line: l.Line, Like: l.Like, Kind: string(l.Kind)}
			if l.Like == 0 {
				is.Project, is.PaymentID, is.State = l.Other.Key.ProjectID, l.Other.Key.PaymentID, result.StateOf(l.Other)
			}
			r.Alike = append(r.Alike, is)
		}
		for _, s := range k.Spreads {
			r.Amounts = append(r.Amounts, spreadJSON(s))
		}
		for _, g := range k.Groups {
			r.Groups = append(r.Groups, groupJSON{g.Project, g.Method, g.Bank, g.Currency, g.Rows, g.Minor})
		}
		for _, w := range k.Warnings {
			r.Warnings = append(r.Warnings, w.String())
		}
	}
	return a.printJSON(r)
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.w.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
