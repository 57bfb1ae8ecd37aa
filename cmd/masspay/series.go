package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"masspay/batch/payfile"
	"masspay/payout"
)

// mostPassed is how many numbers are passed over at once: more is taken for a slip, which
// nothing would undo.
const mostPassed = 1_000

func (a *app) seriesCommand() *cobra.Command {
	var next uint64
	var reason string
	c := &cobra.Command{
		Use:   "series [NAME --next N --reason TEXT]",
		Short: "Show which file comes next in a series, or pass over a gap",
		Long: `Whoever makes files may number them, with a line "series NAME NUMBER" in FILE.ctl: then
a file that was lost, or came twice, shows, and masspay run refuses what is not the next one.
Where a file is missing for good, --next says which one comes next instead; it is in the
audit log, with who said so and why. A number that was used is never used again.`,
		Args: args(0, 1, "at most one series"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			switch {
			case len(args) == 0 && (next != 0 || reason != ""):
				return failf(exitConfig, "masspay series payroll --next 28 --reason 'file 27 was a test'", "series: say which one; nothing was changed")
			case len(args) == 0:
				return a.listSeries(cmd.Context())
			case next == 0 || reason == "":
				return failf(exitConfig, "masspay series "+shellWord(args[0])+" --next 28 --reason 'file 27 was a test'", "series %s: say which number comes next (--next), and why (--reason); nothing was changed", said(args[0]))
			}
			return a.passSeries(cmd.Context(), args[0], next, reason)
		},
	}
	c.Flags().Uint64Var(&next, "next", 0, "the `NUMBER` that comes next")
	c.Flags().StringVar(&reason, "reason", "", "why: it is kept in the audit log")
	return c
}

func (a *app) listSeries(ctx context.Context) error {
	_, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	last, err := s.Series(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		_, _ = fmt.Fprintf(a.w.stdout, "%s  %s was the last, %s is next\n", name, payout.FormatNumber(last[name]), payout.FormatNumber(last[name]+1))
	}
	if len(last) == 0 {
		a.say("no file of a series was loaded yet")
	}
	return nil
}

func (a *app) passSeries(ctx context.Context, name string, next uint64, reason string) error {
	is, err := payfile.ParseSeries(fmt.Sprint(name, " ", next))
	if err != nil {
		return failf(exitConfig, "the name as it is in FILE.ctl", "%v; nothing was changed", err)
	}
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	last, err := s.Series(ctx)
	if err != nil {
		return err
	}
	was, known := last[name]
	switch {
	case !known:
		return failf(exitConfig, "masspay series lists them; a series begins with whatever number comes first", "no file of series %s was loaded yet; nothing was changed", name)
	case next == was+1:
		a.say("series %s: %s is next already; nothing was changed", name, payout.FormatNumber(next))
		return nil
	case next > was+mostPassed:
		return failf(exitConfig, "whoever makes the files knows their numbers", "series %s: %s was the last, and --next %s passes over more than %s: is that a slip? nothing was changed", name, payout.FormatNumber(was), payout.FormatNumber(next), payout.FormatNumber(mostPassed))
	case next <= was:
		return failf(exitConfig, "a number that was used is never used again: whoever makes the files numbers them on", "series %s: %s was the last; nothing was changed", name, payout.FormatNumber(was))
	}
	if err := a.record(ctx, c, s, "series "+name, "", ""); err != nil {
		return err
	}
	if err := s.PassSeries(ctx, *is, person(), reason); err != nil {
		return err
	}
	a.say("series %s: %s is next; %s was the last", name, payout.FormatNumber(next), payout.FormatNumber(was))
	return nil
}
