package main

import (
	"context"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/payout"
	"masspay/store"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status [BATCH]",
		Short: "Show where every payout is",
		Long:  "List the batches, or show one by the beginning of its id.",
		Args:  args(0, 1, "at most one batch"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			if len(args) == 1 {
				return a.statusOf(cmd.Context(), s, args[0], asJSON)
			}
			return a.statusAll(cmd.Context(), s, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func (a *app) statusOf(ctx context.Context, s store.Store, id string, asJSON bool) error {
	b, err := s.Batch(ctx, id)
	if err != nil {
		return err
	}
	sum := tally(b)
	if asJSON {
		return a.printJSON(runReport(b, sum, batch.Outcome{}, verdictCode(b, false), ""))
	}
	w := world{stderr: a.w.stdout}
	(&app{w: w}).say("batch %s, %s, loaded %s", b.Short(), b.Name, b.LoadedAt.Format(time.RFC3339))
	printSummary(a.w.stdout, sum)
	if n := checks(b); n > 0 {
		(&app{w: w}).say("%s must be checked by a person; masspay report %s tells which", count(n, "payout"), b.Short())
	}
	return nil
}

func checks(b store.Batch) (n int) {
	for _, c := range b.Counts {
		n += c.Check
	}
	return n
}

func (a *app) statusAll(ctx context.Context, s store.Store, asJSON bool) error {
	t := table.NewWriter()
	t.SetStyle(plainStyle())
	t.SetOutputMirror(a.w.stdout)
	t.AppendHeader(table.Row{"batch", "loaded", "file", "rows", "paid", "not paid", "open", "check", "asked for"})
	right := []table.ColumnConfig{}
	for n := 4; n <= 9; n++ {
		right = append(right, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(right)
	all := []runJSON{}
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return err
		}
		if asJSON {
			all = append(all, runReport(b, tally(b), batch.Outcome{}, verdictCode(b, false), ""))
			continue
		}
		paid, open := b.InState(payout.StatePaid), b.Open()
		t.AppendRow(table.Row{
			b.Short(), b.LoadedAt.Format("2006-01-02 15:04"), b.Name, payout.Count(b.Rows), payout.Count(paid),
			payout.Count(b.Rows - paid - open), payout.Count(open), payout.Count(checks(b)), amounts(b.Totals),
		})
	}
	if asJSON {
		return a.printJSON(all)
	}
	if t.Length() == 0 {
		a.say("no batches yet; masspay run FILE -o RESULT.csv makes one")
		return nil
	}
	t.Render()
	return nil
}
