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
	b, err := a.batch(ctx, s, id)
	if err != nil {
		return err
	}
	sum := tally(b)
	if asJSON {
		return a.printJSON(statusReport(b))
	}
	w := world{stderr: a.w.stdout}
	(&app{w: w}).say("batch %s, %s, loaded %s", b.Short(), b.Name, b.LoadedAt.Format(time.RFC3339))
	printSummary(a.w.stdout, sum)
	if n := checks(b); n > 0 {
		(&app{w: w}).say("%s must be checked by a person; masspay report %s tells which", count(n, "payout"), b.Short())
	}
	if n := b.Open() - b.Waiting() - openChecks(b); n > 0 {
		(&app{w: w}).say("%s of the open ones can only be settled by a person (masspay resolve); masspay report %s tells which", count(n, "payout"), b.Short())
	}
	return (&app{w: w}).sayCancelled(ctx, s, b)
}

func openChecks(b store.Batch) (n int) {
	for _, c := range b.Counts {
		if c.State.Open() {
			n += c.Check
		}
	}
	return n
}

// statusJSON is what status prints with --json.
type statusJSON struct {
	Batch    string             `json:"batch"`
	File     string             `json:"file"`
	LoadedAt time.Time          `json:"loaded_at"`
	Rows     int                `json:"rows"`
	ExitCode int                `json:"exit_code"` // that a run would end with now
	States   map[string]sumJSON `json:"states"`
}

func statusReport(b store.Batch) statusJSON {
	return statusJSON{b.ID, b.Name, b.LoadedAt, b.Rows, verdictCode(b, false), statesJSON(tally(b))}
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
	t.AppendHeader(table.Row{"batch", "loaded", "file", "rows", "paid", "partly", "returned", "not paid", "open", "check", "asked for"})
	right := []table.ColumnConfig{}
	for n := 4; n <= 11; n++ {
		right = append(right, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(right)
	all := []statusJSON{}
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return err
		}
		if asJSON {
			all = append(all, statusReport(b))
			continue
		}
		sum := tally(b)
		n := func(words ...string) (n string) {
			total := 0
			for _, w := range words {
				total += sum.N(w)
			}
			return payout.Count(total)
		}
		t.AppendRow(table.Row{
			b.Short(), b.LoadedAt.Format(time.RFC3339), b.Name, payout.Count(b.Rows),
			n(batch.WordPaid), n(batch.WordPartly), n(batch.WordReturned),
			n(batch.WordDeclined, batch.WordRejected, batch.WordCancelled, batch.WordSkipped),
			n(batch.WordOpen), n(batch.WordCheck), amounts(b.Totals),
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
