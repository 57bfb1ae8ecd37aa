package payfile

import (
	"fmt"
	"slices"

	"masspay/payout"
	"masspay/store"
)

// Expect are control totals: what the sender of a file says is in it. They are
// the defence against a truncated file and a slipped finger.
type Expect struct {
	Rows   int             // 0: not said
	Totals []payout.Amount // empty: not said; otherwise every currency of the file must be among them
	Limits []payout.Amount // a currency's sum must not be more
}

// problems compares a file with its control totals.
func (e Expect) problems(rows int, totals []payout.Amount) (out []Problem) {
	if e.Rows > 0 && rows != e.Rows {
		out = append(out, Problem{Text: fmt.Sprintf("the file has %s rows, %s were expected (--expect-rows): is it cut off, or the wrong file?", payout.FormatNumber(rows), payout.FormatNumber(e.Rows))})
	}
	sum := func(list []payout.Amount, currency string) payout.Amount {
		a := payout.Amount{Currency: currency}
		for _, t := range list {
			if t.Currency == currency {
				a.Minor += t.Minor
			}
		}
		return a
	}
	if len(e.Totals) > 0 {
		for _, currency := range currencies(e.Totals, totals) {
			want, have := sum(e.Totals, currency), sum(totals, currency)
			switch {
			case want == have:
			case want.Minor == 0:
				out = append(out, Problem{Text: fmt.Sprintf("the file also has %s, which was not expected (--expect-total)", have)})
			default:
				out = append(out, Problem{Text: fmt.Sprintf("the file adds up to %s, %s was expected (--expect-total)", have, want)})
			}
		}
	}
	for _, limit := range e.Limits {
		if have := sum(totals, limit.Currency); have.Minor > limit.Minor {
			out = append(out, Problem{Text: fmt.Sprintf("the file adds up to %s, over the limit of %s (limits.run_total)", have, limit)})
		}
	}
	for i := range out {
		out[i].structure = true
	}
	return out
}

// Loaded holds a batch that is already loaded against control totals. It
// returns a *FileError.
func (e Expect) Loaded(b store.Batch) error {
	ps := e.problems(b.Rows, b.Totals)
	if len(ps) == 0 {
		return nil
	}
	return &FileError{Name: b.Name, Problems: ps, Count: len(ps)}
}

// currencies lists the currencies of two sums, sorted.
func currencies(lists ...[]payout.Amount) (all []string) {
	for _, list := range lists {
		for _, a := range list {
			if !slices.Contains(all, a.Currency) {
				all = append(all, a.Currency)
			}
		}
	}
	slices.Sort(all)
	return all
}
