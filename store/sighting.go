package store

import (
	"context"
	"iter"
	"slices"
	"time"

	"masspay/payout"
)

// Mark is a keyed digest by which an account or a customer is known again, and not read.
// The zero value is none.
type Mark [12]byte

// Resemblance is what a row resembles among what was loaded before.
type Resemblance struct {
	// Twin pays the same amount to the same account under another id, and may have been
	// paid or may still be: one that a person should look at before the newest. Number 0:
	// there is none. What belongs to the same row (RetryOf) is no twin.
	Twin payout.Payout

	// Last is the payout that the row's customer was last paid with, if that went to
	// another account. Number 0: it did not, or the customer is not known.
	Last payout.Payout
}

// Any reports whether the row resembles anything.
func (r Resemblance) Any() bool { return r.Twin.Number != 0 || r.Last.Number != 0 }

// Sighting is a payout with the account that it goes to.
type Sighting struct {
	Payout  payout.Payout
	Account Mark // zero: it names none
	New     bool // of the batch that is being loaded
}

// Counts reports whether the payout is money that went out, or may: all that was not
// cancelled, declined, rejected or said by a person not to be paid.
func (s Sighting) Counts() bool {
	if s.Payout.NeedsCheck() {
		return true // perhaps paid all the same
	}
	switch s.Payout.State {
	case payout.StateCancelled, payout.StateDeclined, payout.StateRejected:
		return false
	}
	return true
}

// Allowance is asked in the load of a batch, before that counts, while no other load runs:
// of two files side by side the second one sees the first.
type Allowance struct {
	Since time.Time // what was loaded from then on is counted

	// Ask is given the payouts of the batch first, then those of earlier ones, each once. Its error
	// undoes the load and is returned.
	Ask func(ctx context.Context, all iter.Seq2[Sighting, error]) error
}

// KeepFor is for how long rows are known again by account where Options do not say: the
// longest that look-alikes and limits of a day look back by default.
const KeepFor = 10 * 24 * time.Hour

// KeptAnyway is for how long rows are known again whatever Options say: limits of a day look
// back so far, in every time zone.
const KeptAnyway = 2 * 24 * time.Hour

// Remembered is a payout of a customer, by where it goes.
type Remembered struct {
	Account Mark
	Payout  uint64 // number
}

// PayoutsOfOne is how many payouts are kept of a customer before those are let go that are
// of no use; mostOfOne is how many are kept at all.
const (
	PayoutsOfOne = 4
	mostOfOne    = 16
)

// Remember puts a payout before those that a customer had. When they are many, those go that
// cannot be paid any more, and all that are paid but the newest: what was loaded and never
// paid must not hide what was. get returns nil for a payout that is gone.
func Remember(had []Remembered, account Mark, number uint64, get func(number uint64) (*payout.Payout, error)) ([]Remembered, error) {
	all := append([]Remembered{{account, number}}, had...)
	if len(all) <= PayoutsOfOne {
		return all, nil
	}
	kept, paid := all[:1], -1 // place of the newest that is paid
	for _, r := range all[1:] {
		p, err := get(r.Payout)
		switch {
		case err != nil:
			return nil, err
		case p == nil:
		case arrivedOnce(p) && paid >= 0:
		case arrivedOnce(p):
			paid = len(kept)
			kept = append(kept, r)
		case p.State.Open() || p.State == payout.StatePartial:
			kept = append(kept, r)
		}
	}
	if len(kept) <= mostOfOne {
		return kept, nil
	}
	if paid >= mostOfOne {
		kept[mostOfOne-1] = kept[paid]
	}
	return kept[:mostOfOne], nil
}

// arrivedOnce reports whether money of a payout arrived whole, also if it came back later: so a
// closed account looks, and who is paid elsewhere next has changed it.
func arrivedOnce(p *payout.Payout) bool {
	return p.State == payout.StatePaid || p.State == payout.StateReturned
}

// LastPaid finds the newest payout of a customer that was paid, and returns it if it went to
// another account. get returns nil for a payout that is gone.
func LastPaid(had []Remembered, account Mark, get func(number uint64) (*payout.Payout, error)) (last payout.Payout, err error) {
	if !slices.ContainsFunc(had, func(r Remembered) bool { return r.Account != account }) {
		return last, nil // as most customers have it
	}
	var other bool
	for _, r := range had {
		p, err := get(r.Payout)
		if err != nil {
			return payout.Payout{}, err
		}
		if p != nil && arrivedOnce(p) && p.Number > last.Number {
			last, other = *p, r.Account != account
		}
	}
	if !other {
		return payout.Payout{}, nil
	}
	return last, nil
}

// Worse reports whether a twin is to be named rather than another one: what is open, to be
// checked or never to be paid again first, then what is newer.
func Worse(r payout.Rules, p, than payout.Payout) bool {
	if than.Number == 0 {
		return true
	}
	if a, b := unsettled(r, p), unsettled(r, than); a != b {
		return a
	}
	return p.Number > than.Number
}

func unsettled(r payout.Rules, p payout.Payout) bool {
	return p.State.Open() || p.NeedsCheck() || refusedForGood(r, p)
}

// refusedForGood reports whether a payout was refused for a reason that holds for another
// one to the same account, too.
func refusedForGood(r payout.Rules, p payout.Payout) bool {
	return (p.State == payout.StateDeclined || p.State == payout.StateRejected) && r.BlocksRetry != nil && r.BlocksRetry(p.Reported.Code)
}

// TwinOf reports whether a payout that goes to the same account is a row's twin.
func TwinOf(r payout.Rules, p payout.Payout, key payout.Key, amount payout.Amount) bool {
	if p.Amount != amount || p.State == payout.StateReturned || !(Sighting{Payout: p}).Counts() && !refusedForGood(r, p) {
		return false
	}
	return p.Key.ProjectID != key.ProjectID || firstID(p.Key.PaymentID) != firstID(key.PaymentID)
}

func firstID(id string) string {
	if first, _, retry := payout.RetryOf(id); retry {
		return first
	}
	return id
}
