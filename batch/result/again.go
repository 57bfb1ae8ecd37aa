package result

import (
	"context"

	"masspay/payout"
	"masspay/store"
)

// mayWait reports whether a row may have to wait for another payout of it.
func mayWait(families func(payout.Key) bool, key payout.Key) bool {
	_, _, retry := payout.RetryOf(key.PaymentID)
	return retry || families != nil && families(key)
}

// paidAgain is the action of a refused or returned row that another payout of it pays, or
// may pay, and its note; both are empty where there is none.
func paidAgain(ctx context.Context, s Kin, families func(payout.Key) bool, l *store.Line) (act, note string, err error) {
	p := &l.Payout
	refused := p.State == payout.StateDeclined || p.State == payout.StateRejected || p.State == payout.StateReturned
	if l.Skip != "" || !refused || p.NeedsCheck() || families == nil ||
		!families(payout.Key{ProjectID: p.Key.ProjectID, PaymentID: payout.FirstOf(p.Key.PaymentID)}) {
		return "", "", nil
	}
	family, err := s.Family(ctx, p.Key)
	for _, q := range family {
		id := q.Key.PaymentID
		switch {
		case q.Key == p.Key:
		case q.State == payout.StatePaid && !q.NeedsCheck():
			return ActionNothing, "paid as " + id, err
		case q.State.Open() && !q.NeedsCheck():
			act, note = ActionWait, "to be paid as "+id+", which is "+DescribeState(q)
		case q.NeedsCheck() || q.State == payout.StatePartial:
			act, note = ActionCheck, "to be paid as "+id+", which is "+DescribeState(q)
		}
	}
	return act, note, err
}

// Kin is what finds the other payouts of a row.
type Kin interface {
	Family(ctx context.Context, key payout.Key) ([]payout.Payout, error)
}

// PaidAgain says whether another payout of a row pays it, as the result does.
func PaidAgain(ctx context.Context, s Kin, p *payout.Payout) (act, note string, err error) {
	return paidAgain(ctx, s, func(payout.Key) bool { return true }, &store.Line{Payout: *p})
}
