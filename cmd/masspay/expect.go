package main

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"masspay/batch/payfile"
	"masspay/payout"
)

// expectFlags are the control totals, which check and run share.
type expectFlags struct {
	rows    int
	totals  []string
	accept  int  // look-alikes
	writes  bool // a sidecar is about to be written
	content bool // the digest of what will be sent is wanted

	changed func(flag string) bool // whether a flag was given; nil: none can be
}

func (e *expectFlags) given(flag string) bool { return e.changed != nil && e.changed(flag) }

func (e *expectFlags) register(c *cobra.Command) {
	e.changed = c.Flags().Changed
	c.Flags().IntVar(&e.rows, "expect-rows", 0, "refuse the file unless it has `N` rows")
	c.Flags().StringArrayVar(&e.totals, "expect-total", nil, "refuse the file unless it adds up to `AMOUNT`, e.g. 1250000.00KGS; once for each currency")
	c.Flags().IntVar(&e.accept, "accept-lookalikes", 0, "let through exactly `N` rows that lookalikes would refuse")
}

// expect are the control totals of a file: what flags, its sidecar and the configuration
// say. path is "" where there is no file.
func (e *expectFlags) expect(c *config, path string) (payfile.Expect, error) {
	out := payfile.Expect{Rows: e.rows}
	for _, is := range []struct {
		flag  string
		n     int
		given bool
	}{{"expect-rows", e.rows, e.given("expect-rows")}, {"accept-lookalikes", e.accept, e.given("accept-lookalikes")}} {
		if is.n < 0 || is.given && is.n == 0 && is.flag == "expect-rows" {
			return out, failf(exitConfig, "leave out --"+is.flag+", if there is no number to hold the file against", "--%s %d: want a number of rows; nothing was sent", is.flag, is.n)
		}
	}
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
		out.Most = []payout.Amount{a}
	}
	if path == "" {
		return out, nil
	}
	var err error
	out.Sidecar, err = payfile.OpenSidecar(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	out.Sidecar = nil
	if c.Limits.Sidecar && !e.writes {
		name := payfile.SidecarName(path)
		if path == "-" {
			return out, failf(exitFile, "put the file and its control totals into files", "standard input has no file of control totals beside it, and limits.sidecar demands one; nothing was sent")
		}
		return out, failf(exitFile, "whoever made the file has them, and masspay check --write-ctl writes them there; written here, they prove nothing", "%s is missing, and limits.sidecar demands it: no control totals; nothing was sent", name)
	}
	return out, nil
}
