package payfile

import (
	"context"
	"fmt"
	"iter"
	"time"

	"masspay/payout"
	"masspay/store"
)

// Meanwhile refuses, in the load that makes a file count, twins in files that were loaded
// since its check began: those before were looked at then. ok is false where twins are not
// refused.
func (k *Checked) Meanwhile(l Lookalikes) (a store.Allowance, ok bool) {
	const wrongClocks = 24 * time.Hour // of machines that share a store
	a = store.Allowance{Since: time.Now().Add(-wrongClocks), Ask: func(_ context.Context, all iter.Seq2[store.Sighting, error]) error {
		type paid struct {
			account store.Mark
			amount  payout.Amount
		}
		others := map[paid]payout.Key{}
		for seen, err := range all {
			if err != nil {
				return err
			}
			if !seen.New && seen.Payout.Places[0].Batch <= k.newest {
				break // the newest batches come first
			}
			if !seen.New && seen.Account != (store.Mark{}) && seen.Counts() {
				others[paid{seen.Account, seen.Payout.Amount}] = seen.Payout.Key
			}
		}
		if len(others) == 0 {
			return nil
		}
		var found problems
		for seen, err := range all {
			if err != nil {
				return err
			}
			if !seen.New {
				break
			}
			p := &seen.Payout
			if other, twin := others[paid{seen.Account, p.Amount}]; twin {
				found.add(Problem{structure: true, kind: "lookalike", Text: fmt.Sprintf("%s (%s to %s) is like %s, which came in with another file meanwhile: run the same command again to see how it stands", p.Key.PaymentID, p.Amount, p.Masked, other.PaymentID)})
			}
		}
		if found.count == 0 {
			return nil
		}
		return &FileError{Name: k.Name, Problems: found.all(), Count: found.count}
	}}
	return a, l.Twins == Refuse && !l.Since.IsZero()
}
