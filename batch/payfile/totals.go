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
	Rows    int             // 0: not said
	Totals  []payout.Amount // empty: not said; otherwise every currency of the file must be among them
	Most    []payout.Amount // a currency's sum must not be more
	Sidecar *Sidecar        // nil: there is none
}

// given reports whether anything says how much the file must add up to, or what is in it.
func (e Expect) given() bool {
	s := e.Sidecar
	return e.Rows > 0 || len(e.Totals) > 0 || s != nil && (s.Rows > 0 || len(s.Totals) > 0 || s.ID != "")
}

// problems compares a file with its control totals.
func (e Expect) problems(rows int, totals []payout.Amount, id string) (out []Problem) {
	out = differ(rows, totals, e.Rows, e.Totals, "--expect-rows", "--expect-total")
	if s := e.Sidecar; s != nil {
		out = append(out, differ(rows, totals, s.Rows, s.Totals, s.Name, s.Name)...)
		if s.ID != "" && s.ID != id {
			out = append(out, Problem{Text: fmt.Sprintf("the file is not the one that its control totals are for (SHA-256 %.12s, %.12s in %s): was it changed since they were written?", id, s.ID, s.Name)})
		}
	}
	for _, limit := range e.Most {
		if have := amountIn(totals, limit.Currency); have != nil && have.Minor > limit.Minor {
			out = append(out, Problem{Text: fmt.Sprintf("the file adds up to %s, over the limit of %s (limits.run_total)", have, limit)})
		}
	}
	for i := range out {
		out[i].structure = true
	}
	return out
}

// differ compares with what someone says, by the names of where.
func differ(rows int, totals []payout.Amount, wantRows int, wanted []payout.Amount, byRows, byTotals string) (out []Problem) {
	if wantRows > 0 && rows != wantRows {
		out = append(out, Problem{Text: fmt.Sprintf("the file has %s rows, %s were expected (%s): is it cut off, or the wrong file?", payout.FormatNumber(rows), payout.FormatNumber(wantRows), byRows)})
	}
	if len(wanted) == 0 {
		return out
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
	for _, currency := range currencies(wanted, totals) {
		want, have := sum(wanted, currency), sum(totals, currency)
		switch {
		case want == have:
		case want.Minor == 0:
			out = append(out, Problem{Text: fmt.Sprintf("the file also has %s, which was not expected (%s)", have, byTotals)})
		default:
			out = append(out, Problem{Text: fmt.Sprintf("the file adds up to %s, %s was expected (%s)", have, want, byTotals)})
		}
	}
	return out
}

// Loaded holds a batch that is already loaded against control totals. It
// returns a *FileError.
func (e Expect) Loaded(b store.Batch) error {
	ps := e.problems(b.Rows, b.Totals, b.ID)
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
