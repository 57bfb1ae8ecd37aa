package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
)

func (a *app) checkCommand() *cobra.Command {
	var expect expectFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Read and check a file; send nothing, write nothing",
		Long:  "Read and check a file, or standard input for -. Sends nothing and writes nothing.",
		Args:  args(1, 1, "one file, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.check(cmd.Context(), args[0], expect, asJSON)
		},
	}
	expect.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print what was found as JSON")
	return c
}

func (a *app) check(ctx context.Context, path string, expect expectFlags, asJSON bool) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	in, err := batch.OpenInput(path, a.w.stdin)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	k, err := a.checked(ctx, c, s, in, expect, false)
	if asJSON {
		return errors.Join(err, a.checkJSON(in.Name, k, err))
	}
	if err != nil {
		return err
	}
	a.found(c, k)
	if err := a.wouldRun(ctx, c, s); err != nil {
		a.say("warning: run would stop: %s", oneLine(explain(err).Error()))
	}
	return nil
}

// wouldRun says what would keep run from sending, apart from the file.
func (a *app) wouldRun(ctx context.Context, c *config, s *bolt.Store) error {
	if _, err := c.secrets(); err != nil {
		return err
	}
	return mayRun(ctx, s, false)
}

// checked checks a file and tells its warnings.
func (a *app) checked(ctx context.Context, c *config, s store.Store, in *batch.Input, expect expectFlags, skip bool) (*batch.Checked, error) {
	want, err := expect.expect(c)
	if err != nil {
		return nil, err
	}
	if a.w.alone {
		roomForFile(in.Size())
	}
	k, err := (&batch.Checker{Store: s, Projects: c.hasProject, Expect: want, Skip: skip}).Check(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, warning := range k.Warnings {
		a.say("warning: %s: %s", in.Name, warning)
	}
	return k, nil
}

// found says what is in a good file.
func (a *app) found(c *config, k *batch.Checked) {
	a.say("%s: %s, %s; no problems, nothing was sent", printable(k.Name), count(k.Rows, "payout"), amounts(k.Totals))
	a.wouldSend(k)
	if n := k.ToSend.Rows; n > 0 {
		a.say("%s", forecast(n, c.Gate.Rate, time.Now()))
	}
}

// wouldSend says how much run would send, where that is not the whole file.
func (a *app) wouldSend(k *batch.Checked) {
	switch {
	case k.Before.Rows == 0:
	case k.ToSend.Rows == 0:
		a.say("run would send nothing: all %s are known already (%s)", payout.Count(k.Before.Rows), inWords(k.Before))
	default:
		a.say("run would send %s, %s; %s are known already (%s)", count(k.ToSend.Rows, "payout"), money(k.ToSend), payout.Count(k.Before.Rows), inWords(k.Before))
	}
}

// checkReport is what check --json prints.
type checkReport struct {
	File     string        `json:"file"`
	OK       bool          `json:"ok"`
	Batch    string        `json:"batch,omitempty"`
	Rows     int           `json:"rows"`
	New      int           `json:"new"`
	ToSend   sumJSON       `json:"to_send"`
	Known    int           `json:"known"`
	Totals   []moneyJSON   `json:"totals"`
	Count    int           `json:"problem_count"`
	Problems []problemJSON `json:"problems"`
	Warnings []string      `json:"warnings"`
}

type problemJSON struct {
	Line   int    `json:"line,omitempty"`
	Column string `json:"column,omitempty"`
	Value  string `json:"value,omitempty"`
	Text   string `json:"text"`
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

func (a *app) checkJSON(name string, k *batch.Checked, err error) error {
	r := checkReport{File: name, OK: err == nil, Totals: []moneyJSON{}, Problems: []problemJSON{}, Warnings: []string{}}
	var file *batch.FileError
	if errors.As(err, &file) {
		r.Count = file.Count
		for _, p := range file.Problems {
			r.Problems = append(r.Problems, problemJSON{p.Line, p.Column, p.Value, p.Text})
		}
	}
	if k != nil {
		r.Batch, r.Rows, r.New, r.Known, r.Totals = k.ID, k.Rows, k.New, k.Known, moneyList(k.Totals)
		r.ToSend = sumReport(k.ToSend)
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
