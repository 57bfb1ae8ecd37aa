package payfile

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"masspay/batch/result"
	"masspay/payout"
)

// tally counts rows that can be sent or were.
type tally struct {
	sums   map[string]*Spread // by currency
	groups map[groupKey]*Group
	last   *Group // that was added to
	large  map[string][]Large
	fresh  int            // the store does not know them
	known  int            // it does, with the same content
	unsent int            // of these, still to be sent
	before result.Summary // of the known, those that would not be sent

	unsentOf map[uint32]int // rows of unsent that stand in an earlier file, by its batch
}

// Spread is how the amounts of a currency are spread. Their average is Minor over Rows.
type Spread struct {
	Currency    string
	Rows        int
	Minor       int64 // of all
	Least, Most int64 // in minor units
}

// Large is one of the largest payouts of its currency.
type Large struct {
	Line      int
	PaymentID string
	Minor     int64
	Masked    string // where the money goes
}

// maxLarge is how many of the largest payouts are shown, for each currency.
const maxLarge = 5

func (t *tally) addLarge(currency string, l Large) {
	list := t.large[currency]
	if len(list) == maxLarge && l.Minor <= list[maxLarge-1].Minor {
		return
	}
	if t.large == nil {
		t.large = map[string][]Large{}
	}
	l.PaymentID = strings.Clone(l.PaymentID) // it must not keep its piece alive
	at, _ := slices.BinarySearchFunc(list, l.Minor, func(a Large, minor int64) int { return cmp.Or(cmp.Compare(minor, a.Minor), -1) })
	t.large[currency] = slices.Insert(list, at, l)[:min(len(list)+1, maxLarge)]
}

// Group are the payouts of a project by one method, to one bank, in one currency.
type Group struct {
	groupKey
	Rows  int
	Minor int64
}

type groupKey struct {
	Project  uint32
	Method   string
	Bank     string // account.bank_code; "" where the method has none, OtherBanks beyond maxGroups
	Currency string
}

// OtherBanks is the bank of a group, in a file with too many banks to be told apart.
const OtherBanks = "*"

// maxGroups is how many groups are told apart.
const maxGroups = 500

// add adds a row that is right; it reports whether the sum of its currency is possible.
func (t *tally) add(d draft) bool {
	t.addLarge(d.amount.Currency, Large{d.line, d.key.PaymentID, d.amount.Minor, d.masked})
	return t.addGroup(Group{groupKey{d.key.ProjectID, d.method, d.bank, d.amount.Currency}, 1, d.amount.Minor}) &&
		t.addSpread(Spread{d.amount.Currency, 1, d.amount.Minor, d.amount.Minor, d.amount.Minor})
}

func (t *tally) addSpread(s Spread) bool {
	if t.sums == nil {
		t.sums = map[string]*Spread{}
	}
	sum := t.sums[s.Currency]
	if sum == nil {
		t.sums[s.Currency] = &s
		return true
	}
	if sum.Minor > math.MaxInt64-s.Minor {
		return false
	}
	sum.Rows, sum.Minor, sum.Least, sum.Most = sum.Rows+s.Rows, sum.Minor+s.Minor, min(sum.Least, s.Least), max(sum.Most, s.Most)
	return true
}

func (t *tally) addGroup(g Group) bool {
	if t.last == nil || t.last.groupKey != g.groupKey {
		if t.groups == nil {
			t.groups = map[groupKey]*Group{}
		}
		t.last = t.groups[g.groupKey]
		if t.last == nil && len(t.groups) >= maxGroups {
			g.Bank = OtherBanks
			t.last = t.groups[g.groupKey]
		}
		if t.last == nil {
			t.last = &Group{groupKey: g.groupKey}
			t.groups[g.groupKey] = t.last
		}
	}
	if t.last.Minor > math.MaxInt64-g.Minor {
		return false
	}
	t.last.Rows, t.last.Minor = t.last.Rows+g.Rows, t.last.Minor+g.Minor
	return true
}

// knew counts a row whose payout is known with the same content.
func (t *tally) knew(was *payout.Payout) {
	t.known++
	if was.State == payout.StateNew && !was.OfAnother() {
		t.unsent++
		for _, at := range was.Places {
			t.standIn(at.Batch, 1)
		}
		return
	}
	t.before.Payout(was, result.Action(*was), nil)
}

// standIn notes that rows which were not sent yet stand in an earlier file.
func (t *tally) standIn(batch uint32, rows int) {
	if t.unsentOf == nil {
		t.unsentOf = map[uint32]int{}
	}
	t.unsentOf[batch] += rows
}

// mergeTally adds what was counted later. It returns a currency whose sum is beyond all
// bounds, "" if there is none.
func (t *tally) mergeTally(later *tally) string {
	for batch, rows := range later.unsentOf {
		t.standIn(batch, rows)
	}
	for currency, s := range later.sums {
		if !t.addSpread(*s) {
			return currency
		}
	}
	for currency, list := range later.large {
		for _, l := range list {
			t.addLarge(currency, l)
		}
	}
	for _, g := range later.groups {
		if !t.addGroup(*g) {
			return g.Currency
		}
	}
	t.fresh += later.fresh
	t.known += later.known
	t.unsent += later.unsent
	t.before.Merge(later.before)
	return ""
}

// totals are the sums that are not zero, by currency.
func (t *tally) totals() (all []payout.Amount) {
	for _, s := range t.spreads() {
		if s.Minor != 0 {
			all = append(all, payout.Amount{Minor: s.Minor, Currency: s.Currency})
		}
	}
	return all
}

func (t *tally) spreads() (all []Spread) {
	for _, currency := range slices.Sorted(maps.Keys(t.sums)) {
		all = append(all, *t.sums[currency])
	}
	return all
}

// groupList are the groups, the largest first.
func (t *tally) groupList() (all []Group) {
	for _, g := range t.groups {
		all = append(all, *g)
	}
	slices.SortFunc(all, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Currency, b.Currency), cmp.Compare(b.Minor, a.Minor), cmp.Compare(a.Project, b.Project), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Bank, b.Bank))
	})
	return all
}
