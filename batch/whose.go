package batch

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"masspay/gate"
	"masspay/payout"
)

// Rows is where the row lies that a payout is sent from.
type Rows interface {
	Row(ctx context.Context, p payout.Payout) (columns, cells []string, err error)
}

// InQuestion reports whether the payment that the gate has under a payout's id
// may be somebody else's: nobody has seen the gate accept ours, so the id may
// have been used before.
func InQuestion(p payout.Payout) bool {
	return p.Flags&(payout.Proved|payout.NotOurs) == 0 && (p.Unproven || p.Epoch != 0 || p.Flags&payout.WasDoubted != 0)
}

// Whose compares the gate's payment with a payout's row, if it is in question.
// Neither means that what the gate says is not enough to tell. With an error,
// the row could not be read, and the gate's word must not be taken yet.
func Whose(ctx context.Context, rows Rows, p payout.Payout, n gate.Notice) (ours, theirs bool, err error) {
	if !InQuestion(p) {
		return false, false, nil
	}
	columns, cells, err := rows.Row(context.WithoutCancel(ctx), p)
	if err != nil {
		return false, false, err
	}
	ours, theirs = compare(columns, cells, p, n)
	return ours, theirs, nil
}

func compare(columns, cells []string, p payout.Payout, n gate.Notice) (ours, theirs bool) {
	compared := 0
	for column, said := range map[string]string{"customer.id": n.Customer, gate.ColAccount: n.Account} {
		i := slices.Index(columns, column)
		if i < 0 || cells[i] == "" || said == "" || !plainValue(said) {
			continue
		}
		if bare(cells[i]) != bare(said) {
			return false, true
		}
		compared++
	}
	if n.Sum != (payout.Amount{}) && n.Sum.Currency != p.Amount.Currency || p.Unproven && n.Sum != (payout.Amount{}) && n.Sum != p.Amount {
		return false, true
	}
	// An id that is used every month for one person and one amount: only the
	// time tells last month's payment from this one. After an attempt in doubt it
	// is ours most likely, and a clock that was off by hours must not deny that.
	slack := doubtSlack
	if p.Unproven {
		slack = clockSlack
	}
	if !n.Made.IsZero() && !p.FirstSent.IsZero() && n.Made.Before(p.FirstSent.Add(-slack)) {
		return false, true
	}
	return compared > 0 && n.Sum == p.Amount && !n.Made.IsZero() && !p.FirstSent.IsZero(), false
}

// clockSlack is how far the gate's clock may be behind ours; doubtSlack the same
// when our own attempt may have made the payment.
const (
	clockSlack = 10 * time.Minute
	doubtSlack = 24 * time.Hour
)

// plainValue reports whether the gate repeats a value whole, not masked.
func plainValue(s string) bool { return !strings.ContainsAny(s, "*•X") }

// bare is a value without what the gate may write in another way.
func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}
