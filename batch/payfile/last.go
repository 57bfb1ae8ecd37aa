package payfile

import (
	"fmt"

	"masspay/payout"
	"masspay/store"
)

// hundredfold warns where a file adds up to about 100 times what the file before it did, or
// to a hundredth: somebody took minor units for major ones.
func (k *checking) hundredfold(totals []payout.Amount) error {
	var last store.Batch
	for b, err := range k.Store.Batches(k.ctx) {
		if err != nil {
			return err
		}
		if b.ID != k.id {
			last = b
		}
	}
	for _, is := range totals {
		was := amountIn(last.Totals, is.Currency)
		if was == nil {
			continue
		}
		what := "about 100 times"
		switch {
		case about(is.Minor, was.Minor):
		case about(was.Minor, is.Minor):
			what = "about a hundredth of"
		default:
			continue
		}
		k.warnings.add(0, fmt.Sprintf("the file adds up to %s, %s what %s did (%s): are the amounts in minor units?", is, what, last.Name, was))
	}
	return nil
}

// about reports whether a is 100 times b, give or take a tenth.
func about(a, b int64) bool { return b > 0 && a/90 >= b && a/110 < b }
