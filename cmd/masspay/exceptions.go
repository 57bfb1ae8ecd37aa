package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// exceptionFlags are the flags of exceptions.
type exceptionFlags struct {
	closed    bool
	json, csv bool
}

func (a *app) exceptionsCommand() *cobra.Command {
	var f exceptionFlags
	c := &cobra.Command{
		Use:   "exceptions [BATCH]",
		Short: "List the payouts that a person must look at, and those that one has looked at",
		Long: `List the payouts that a person must look at: contradictions, other amounts, payments of
others, statuses that masspay does not know, money that came in part or came back, rows that
the gate ended without an outcome, and rows that the platform asks a question about, which
must be answered in its Dashboard within half an hour or so. The store keeps the list; it is never counted.
masspay resolve PAYMENT_ID --as seen --reason TEXT closes one, and keeps who, when and why;
a new fact opens it again. Exit code 4 while any is open.`,
		Args: args(0, 1, "at most one batch"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			if f.json && f.csv {
				return failf(exitConfig, "one of the two", "--json and --csv: want one form; nothing was changed")
			}
			return a.exceptions(cmd.Context(), args, f)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.closed, "closed", false, "those that a person has closed, with who, when and why")
	fl.BoolVar(&f.json, "json", false, "print them as JSON")
	fl.BoolVar(&f.csv, "csv", false, "print them as CSV, with semicolons")
	return c
}

func (a *app) exceptions(ctx context.Context, args []string, f exceptionFlags) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	is := payout.OpenException
	if f.closed {
		is = payout.ClosedException
	}
	filter := store.Filter{Exception: is, Events: true}
	if len(args) == 1 {
		b, err := a.batch(ctx, s, args[0])
		if err != nil {
			return err
		}
		filter.Batch = b.ID
	}
	files, err := filesOf(ctx, s)
	if err != nil {
		return err
	}
	list := []result.Exception{}
	for h, err := range s.List(ctx, filter) {
		if err != nil {
			return err
		}
		list = append(list, result.ExceptionOf(&h, files, c.rules()))
	}
	switch {
	case f.json:
		err = a.printJSON(list)
	case f.csv:
		err = a.exceptionsCSV(list)
	default:
		a.exceptionsText(list, f.closed)
	}
	if err == nil && len(list) > 0 && !f.closed {
		return endWith(exitOpen)
	}
	return err
}

// filesOf are the batches by number.
func filesOf(ctx context.Context, s store.Store) (map[uint32]store.Batch, error) {
	files := map[uint32]store.Batch{}
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		files[b.Number] = b
	}
	return files, nil
}

func (a *app) exceptionsText(list []result.Exception, closed bool) {
	switch {
	case len(list) == 0 && closed:
		a.say("no person has closed an exception yet")
	case len(list) == 0:
		a.say("no exceptions: nothing wants a person")
	}
	for _, e := range list {
		amount := payout.Amount{Minor: e.Minor, Currency: e.Currency}
		_, _ = fmt.Fprintf(a.w.stdout, "%s  %s to %s, %s, since %s\n", printable(e.PaymentID), amount, e.Account, e.State, e.Since.UTC().Format(time.RFC3339))
		_, _ = fmt.Fprintf(a.w.stdout, "    %s%s\n", printable(e.File), behind(": ", printable(e.Why)))
		if closed && e.ClosedAt != nil {
			_, _ = fmt.Fprintf(a.w.stdout, "    closed %s by %s: %s\n", e.ClosedAt.UTC().Format(time.RFC3339), printable(e.Person), printable(e.Reason))
		}
	}
	if len(list) > 0 && !closed {
		a.say("%s %s a person", count(len(list), "payout"), map[bool]string{true: "wants", false: "want"}[len(list) == 1])
		first := list[0]
		a.say("hint: what happened to the first: masspay show %s", shellWord(first.PaymentID))
		if do := first.Closing.ToPaste(first.PaymentID); do != "" {
			a.say("hint: %s: %s", first.Closing.When, do)
		}
	}
}

func (a *app) exceptionsCSV(list []result.Exception) error {
	w := csv.NewWriter(a.w.stdout)
	w.Comma = ';'
	rows := [][]string{result.ExceptionColumns}
	for i := range list {
		rows = append(rows, list[i].Cells())
	}
	return w.WriteAll(rows)
}
