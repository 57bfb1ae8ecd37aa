package payout

import (
	"strconv"
	"strings"
)

// A row that was not paid is paid again under an id of its own: that of its first
// payout with -r2 behind it, then -r3, and so on.

// MostRetries is the largest number that an id is taken for a retry's with.
const MostRetries = 9999

// RetryID is the id of the nth payout of a row, n from 2.
func RetryID(first string, n int) string { return first + "-r" + strconv.Itoa(n) }

// RetryOf takes such an id apart. ok is false for every other id.
func RetryOf(id string) (first string, n int, ok bool) {
	i := len(id)
	for i > 0 && id[i-1] >= '0' && id[i-1] <= '9' {
		i--
	}
	digits := id[i:]
	if digits == "" || digits[0] == '0' || len(digits) > len("9999") || !strings.HasSuffix(id[:i], "-r") || i == len("-r") {
		return "", 0, false
	}
	if n, err := strconv.Atoi(digits); err == nil && n >= 2 && n <= MostRetries {
		return id[:i-len("-r")], n, true
	}
	return "", 0, false
}

// FirstOf is the id of a row's first payout: id without what retries have put behind
// it, also of retries of retries.
func FirstOf(id string) string {
	for {
		first, _, ok := RetryOf(id)
		if !ok {
			return id
		}
		id = first
	}
}

// BlocksRetry reports whether a payout must not be paid once more under another id: it
// is paid or may be, may still be sent, waits for a person, or was refused for good.
func (p *Payout) BlocksRetry(r Rules) bool {
	switch {
	case p.NeedsCheck() || p.State.Open() || p.State == StatePaid || p.State == StatePartial:
		return true
	case p.State == StateDeclined || p.State == StateRejected:
		return p.MayHaveArrived() || p.Resolution.As == 0 && r.BlocksRetry != nil && r.BlocksRetry(p.Reported.Code)
	}
	return p.State == StateReturned && p.Reviewable()
}

// MayHaveArrived reports whether a gate has ever reported that money of a refused payout
// arrived, whatever a person has closed since: it is not paid again without another look.
func (p *Payout) MayHaveArrived() bool {
	const arrived = 1<<StatePaid | 1<<StatePartial
	refused := p.State == StateDeclined || p.State == StateRejected
	return refused && (p.Outcomes&arrived != 0 || p.Resolution.As == 0 && len(p.Paid) > 0)
}

// Payee is whom a row pays, as far as two rows can be compared: the account, card or
// customer, the first that it has, however it is written.
func Payee(columns, cells []string) string {
	for _, column := range []string{FieldAccount, "card.pan", FieldCustomer} {
		for i, c := range columns[:min(len(columns), len(cells))] {
			if c == column && cells[i] != "" {
				return string(AppendAccount(append([]byte(column), ' '), cells[i]))
			}
		}
	}
	return ""
}
