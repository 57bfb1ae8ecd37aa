package result

import (
	"context"

	"masspay/payout"
	"masspay/store"
)

// maxInstead are named of the rows that may have been paid instead of one.
const maxInstead = 3

// instead names the payouts that were loaded later than one that a person had found
// unpaid, and that pay the same amount to the same receiver: when the gate reports the
// first as paid after all, one of them is the second payment. It looks through all
// payouts.
func instead(ctx context.Context, s store.Store, l store.Line, columns []string) (ids []string, err error) {
	receiver := payout.Payee(columns, l.Cells)
	if receiver == "" {
		return nil, nil
	}
	for q, err := range s.List(ctx, store.Filter{}) {
		if err != nil {
			return nil, err
		}
		p := q.Payout
		if p.Number <= l.Payout.Number || p.Amount != l.Payout.Amount || p.Masked != l.Payout.Masked || p.Key.ProjectID != l.Payout.Key.ProjectID {
			continue
		}
		columns, row, err := s.Row(ctx, p, p.Places[0])
		if err != nil {
			return nil, err
		}
		if payout.Payee(columns, row.Cells) != receiver {
			continue
		}
		if ids = append(ids, p.Key.PaymentID+" ("+StateOf(p)+")"); len(ids) == maxInstead {
			break
		}
	}
	return ids, nil
}

// paidAfterAll reports whether a person found a payout unpaid, and the gate says
// otherwise since.
func paidAfterAll(p payout.Payout) bool {
	return p.Resolution.As == payout.StateDeclined && p.Flags&(payout.PaidTwice|payout.Contradicted) != 0
}
