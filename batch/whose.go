package batch

import (
	"context"
	"slices"
	"strings"
	"time"

	"masspay/gate"
	"masspay/payout"
)

// Rows is where the row lies that a payout is sent from.
type Rows interface {
	Row(ctx context.Context, p payout.Payout) (columns, cells []string, err error)
}

// Whose compares the gate's payment with a payout's row, if it is in question.
// Neither means that what the gate says is not enough to tell. With an error,
// the row could not be read, and the gate's word must not be taken yet.
func Whose(ctx context.Context, rows Rows, p payout.Payout, n gate.Notice) (ours, theirs bool, err error) {
	if !p.InQuestion() {
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
		if i < 0 || cells[i] == "" || said == "" {
			continue
		}
		switch liken(cells[i], said) {
		case different:
			return false, true
		case equal:
			compared++
		}
	}
	if n.Sum != (payout.Amount{}) && n.Sum.Currency != p.Amount.Currency || p.Unproven && n.Sum != (payout.Amount{}) && n.Sum != p.Amount {
		return false, true
	}
	// An id that is used every month for one person and one amount: only the
	// time tells last month's payment from this one.
	since := earliest(p)
	if !n.Made.IsZero() && !since.IsZero() && n.Made.Before(since) {
		return false, true
	}
	return compared > 0 && n.Sum == p.Amount && !n.Made.IsZero() && !since.IsZero(), false
}

// clockSlack is how far the gate's clock may be behind ours; doubtSlack the same
// when our own attempt may have made the payment: then it is ours most likely,
// and a clock that was off by hours must not deny that.
const (
	clockSlack = 10 * time.Minute
	doubtSlack = 24 * time.Hour
)

// earliest is the time before which a payment cannot be ours, zero if nobody
// knows.
func earliest(p payout.Payout) time.Time {
	switch {
	case p.FirstSent.IsZero() && p.LostSince.IsZero():
		return time.Time{}
	case p.FirstSent.IsZero() || !p.LostSince.IsZero() && p.LostSince.Before(p.FirstSent):
		return p.LostSince.Add(-doubtSlack) // what the lost store sent, it sent later
	case p.Unproven:
		return p.FirstSent.Add(-clockSlack)
	}
	return p.FirstSent.Add(-doubtSlack)
}

// likeness is what a comparison of two values tells.
type likeness int

const (
	unclear likeness = iota // one of them is masked, or they are written differently
	equal
	different
)

// liken compares a cell with what the gate says of it. Only whole values of one
// form can be different.
func liken(cell, said string) likeness {
	if cell == said {
		return equal
	}
	if strings.ContainsAny(said, "*•#…") || strings.Contains(strings.ToLower(said), "xx") || strings.Contains(said, "..") {
		return unclear
	}
	a, aNumber := number(cell)
	b, bNumber := number(said)
	switch {
	case aNumber && bNumber && a == b:
		return equal
	case aNumber && bNumber && len(a) != len(b), aNumber != bNumber, strings.EqualFold(cell, strings.TrimSpace(said)):
		return unclear // with and without a country code, say
	}
	return different
}

// number is a value of digits without what they may be grouped by.
func number(s string) (digits string, ok bool) {
	digits = strings.NewReplacer(" ", "", "+", "").Replace(s)
	return digits, digits != "" && strings.Trim(digits, "0123456789") == ""
}
