package payout

import (
	"strings"
	"time"
)

// Match is what a comparison of a reported payment with a payout tells. Whoever
// applies a report to a payout makes it with MatchPayment, in the transaction that
// applies it: a report that was not compared sets no outcome.
type Match uint8

// The results of a comparison. The zero value is no comparison, and counts as
// MatchMissing.
const (
	MatchNone    Match = iota
	MatchProven        // shown to be ours: customer or account are equal, and nothing differs
	MatchAllowed       // a request of ours may have made it, and nothing differs
	MatchMissing       // the report does not say enough to tell
	MatchDiffers       // a field differs: the payment is another's
)

// Ours reports whether a report may change the payout that it was compared with.
func (m Match) Ours() bool { return m == MatchProven || m == MatchAllowed }

// The fields that a comparison names, as the platform names them.
const (
	FieldCustomer = "customer.id"
	FieldAccount  = "account.number"
	FieldAmount   = "payment.amount"
	FieldCurrency = "payment.currency"
	FieldDate     = "payment.date"
	FieldType     = "payment.type"
)

// Basis says what a report about a payout must show before it is believed.
type Basis uint8

// The three classes of payouts, from the most to the least known.
const (
	// BasisAccepted: the gate accepted a request of ours. Its reports are about
	// that; only amount and currency are compared.
	BasisAccepted Basis = iota + 1
	// BasisPossible: a request of ours may have left, and no one has said that
	// the id was taken before; or an earlier report has shown that the payment is
	// ours. A report is ours unless a field differs.
	BasisPossible
	// BasisNone: nothing of ours can have made a payment, or the id was taken
	// before our first request, or only a lost store can have sent it. A report
	// must prove that the payment is this row's.
	BasisNone
)

// Basis is the payout's class. Progress in a report never moves a payout
// into BasisAccepted: only the answer to a request of ours does.
func (p *Payout) Basis() Basis {
	switch {
	case p.Unproven: // also where an acceptance was taken back by a 3041
		return BasisNone
	case p.AcceptedAttempt != 0:
		return BasisAccepted
	case p.MayHaveLeft || p.State == StateSending || p.Flags.has(Proved):
		return BasisPossible
	}
	return BasisNone
}

// Row is our side of a comparison: what a row asks for beside its amount.
type Row struct {
	Customer string    // customer.id, empty where the row has none
	Account  string    // account.number, the same
	Since    time.Time // when the batch was loaded; in a restored store the copy's last claim
	Restored bool      // the store is a copy: what the lost one sent is ours too
}

// How far the gate's clock may be behind ours, and the same where a request of
// ours may have made the payment: then it is ours most likely, and a clock that
// was off by hours must not deny that.
const (
	clockSlack = 10 * time.Minute
	doubtSlack = 24 * time.Hour
)

// MatchPayment compares a report with a payout and its row. It returns the field
// that decides: the one that differs, or the one that is missing. It reads
// Customer, Account, Amount, Made and Outcome of the event and changes nothing.
// Of a payout that the gate has accepted it does not look at the row.
func MatchPayment(p Payout, row Row, e Event) (m Match, field string) {
	basis := p.Basis()
	if basis == BasisAccepted {
		return MatchAllowed, "" // another amount shows as AmountDiffers
	}
	customer, account := compareIDs(row.Customer, e.Customer), compareAccounts(row.Account, e.Account)
	earliest := p.earliest(row)
	dated := !e.Made.IsZero() && !earliest.IsZero()
	// Of a payout that was paid in part, the gate names the part; it proves nothing.
	part := e.Outcome == StatePartial && e.Amount.Currency == p.Amount.Currency && e.Amount.Minor >= 0 && e.Amount.Minor <= p.Amount.Minor
	amount := e.Amount == p.Amount
	switch {
	case customer == different:
		return MatchDiffers, FieldCustomer
	case account == different:
		return MatchDiffers, FieldAccount
	case e.Amount.Currency != "" && e.Amount.Currency != p.Amount.Currency:
		return MatchDiffers, FieldCurrency
	case e.Amount != (Amount{}) && !amount && !part:
		return MatchDiffers, FieldAmount
	case dated && e.Made.Before(earliest):
		// An id that is used every month for one person and one amount: only the
		// date tells last month's payment from this one.
		return MatchDiffers, FieldDate
	case (customer == equal || account == equal) && amount && dated:
		return MatchProven, ""
	case basis == BasisPossible:
		return MatchAllowed, ""
	case customer != equal && account != equal:
		return MatchMissing, FieldCustomer
	case !amount:
		return MatchMissing, FieldAmount
	}
	return MatchMissing, FieldDate
}

// earliest is the time before which a payment cannot be this payout's.
func (p *Payout) earliest(row Row) time.Time {
	since := row.Since
	if p.Basis() == BasisPossible {
		since = p.FirstSent
	}
	if !p.LostSince.IsZero() && (since.IsZero() || p.LostSince.Before(since)) {
		return p.LostSince.Add(-doubtSlack) // what the lost store sent, it sent later
	}
	switch {
	case since.IsZero():
		return since
	case p.Basis() == BasisPossible || p.Epoch != 0 || row.Restored:
		return since.Add(-doubtSlack)
	}
	return since.Add(-clockSlack)
}

// likeness is what a comparison of two values tells.
type likeness int

const (
	unclear   likeness = iota // one of them is missing or masked, or they are written differently
	equal                     // the same value
	different                 // two values of one form
)

// compareIDs compares ids that we have given: the gate repeats them as they are.
func compareIDs(cell, reported string) likeness {
	reported = strings.TrimSpace(reported)
	switch {
	case cell == "" || reported == "":
		return unclear
	case cell == reported:
		return equal
	case strings.EqualFold(cell, reported), strings.ContainsAny(reported, "*•…"):
		return unclear
	}
	return different
}

// compareAccounts compares an account, a card or a phone with what the gate reports of
// it, which may be masked, grouped, or without a country code. Only whole values of one
// form can be different.
func compareAccounts(cell, reported string) likeness {
	if cell == "" || reported == "" {
		return unclear
	}
	ungrouped := strings.NewReplacer(" ", "", "\u00a0", "", "-", "")
	if cell == reported || strings.EqualFold(ungrouped.Replace(cell), ungrouped.Replace(reported)) && !masked(reported) {
		return equal
	}
	if masked(reported) {
		return unclear
	}
	a, aNumber := digits(cell)
	b, bNumber := digits(reported)
	switch {
	case aNumber && bNumber && a == b:
		return equal
	case aNumber && bNumber && len(a) != len(b), aNumber != bNumber, strings.EqualFold(cell, strings.TrimSpace(reported)):
		return unclear // with and without a country code, say
	}
	return different
}

// masked reports whether parts of a reported value are hidden.
func masked(reported string) bool {
	return strings.ContainsAny(reported, "*•#…") || strings.Contains(strings.ToLower(reported), "xx") || strings.Contains(reported, "..")
}

// digits is a value of digits without what they may be grouped by.
func digits(s string) (number string, ok bool) {
	number = strings.NewReplacer(" ", "", "+", "").Replace(s)
	return number, number != "" && strings.Trim(number, "0123456789") == ""
}
