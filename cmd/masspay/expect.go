package main

import (
	"github.com/spf13/cobra"

	"masspay/batch/payfile"
	"masspay/payout"
)

// expectFlags are the control totals, which check and run share.
type expectFlags struct {
	rows   int
	totals []string
}

func (e *expectFlags) register(c *cobra.Command) {
	c.Flags().IntVar(&e.rows, "expect-rows", 0, "refuse the file unless it has `N` rows")
	c.Flags().StringArrayVar(&e.totals, "expect-total", nil, "refuse the file unless it adds up to `AMOUNT`, e.g. 1250000.00KGS; once for each currency")
}

func (e *expectFlags) expect(c *config) (payfile.Expect, error) {
	out := payfile.Expect{Rows: e.rows}
	for _, t := range e.totals {
		a, err := payout.ParseTotal(t)
		if err != nil {
			return out, failf(exitConfig, "e.g. --expect-total 1250000.00KGS", "--expect-total %q: %w; nothing was sent", t, err)
		}
		out.Totals = append(out.Totals, a)
	}
	if c.Limits.RunTotal != "" {
		a, err := payout.ParseTotal(c.Limits.RunTotal)
		if err != nil {
			return out, err // validated before
		}
		out.Limits = []payout.Amount{a}
	}
	return out, nil
}
