package payfile

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// Allowance holds a file against the limits of a day, in the load that makes it count: all
// that was loaded since the day began, and the file. ok is false where no rule limits a day.
// What it refuses is a *FileError.
func (l *Limits) Allowance(file string, began time.Time) (a store.Allowance, ok bool) {
	a = store.Allowance{Since: began, Ask: func(ctx context.Context, all iter.Seq2[store.Sighting, error]) error {
		d := newDayLimits(l)
		if err := d.addAll(ctx, all); err != nil {
			return err
		}
		found := d.overDay()
		over := map[uint32]string{} // what is wrong, by row
		for _, o := range d.overPayee() {
			over[o.row] = o.text
		}
		if len(over) > 0 {
			if err := nameRows(all, over, &found); err != nil {
				return err
			}
		}
		if found.count > 0 {
			return &FileError{Name: file, Problems: found.all(), Count: found.count}
		}
		return nil
	}}
	return a, l.ofDay()
}

// nameRows makes problems of rows, by whom they pay: the file's come first.
func nameRows(all iter.Seq2[store.Sighting, error], over map[uint32]string, found *problems) error {
	named := map[uint32]string{}
	for seen, err := range all {
		if err != nil {
			return err
		}
		if !seen.New {
			break
		}
		p := &seen.Payout
		if row := rowOf(p); over[row] != "" {
			named[row] = fmt.Sprintf("%s (%s): %s", result.ShellWord(p.Key.PaymentID), p.Masked, over[row])
		}
	}
	for _, row := range slices.Sorted(maps.Keys(named)) {
		found.add(Problem{structure: true, Text: named[row]})
	}
	return nil
}

// rowOf is a new payout's row in the file that brings it.
func rowOf(p *payout.Payout) uint32 { return p.Places[len(p.Places)-1].Index }

// ofDay reports whether a rule limits a day.
func (l *Limits) ofDay() bool {
	return l != nil && slices.ContainsFunc(l.Rules, func(r Rule) bool { return r.Day > 0 || r.PayeeDay > 0 })
}

// dayLimits are the sums of a day by rule, and by rule and account.
type dayLimits struct {
	*Limits
	sums   []daySum
	payees [][]payeeSum    // by rule; sorted and each account once when the file's are all there
	before []map[int]int64 // by rule and place in payees: what came in before the file
	whole  bool            // the file's are all there
}

func newDayLimits(l *Limits) *dayLimits {
	d := &dayLimits{Limits: l, sums: make([]daySum, len(l.Rules)), payees: make([][]payeeSum, len(l.Rules)), before: make([]map[int]int64, len(l.Rules))}
	for i := range d.before {
		d.before[i] = map[int]int64{}
	}
	return d
}

// reserve makes room for the accounts of so many rows, where one rule is for all of them.
func (d *dayLimits) reserve(rows int) {
	if len(d.Rules) == 1 && d.Rules[0].PayeeDay > 0 {
		d.payees[0] = slices.Grow(d.payees[0], rows)
	}
}

// daySum is what came in before the file, and with it.
type daySum struct{ before, now int64 }

func (s daySum) all() int64 { return plus(s.before, s.now) }

// payeeSum is what the file pays to one account, with the first row that does: 24 bytes a row.
type payeeSum struct {
	account store.Mark
	row     uint32
	now     int64
}

// plus adds what is not negative, to the largest number at the most: that is over any limit.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// addAll counts payouts of the file, which come first, and of what was loaded before.
func (d *dayLimits) addAll(ctx context.Context, all iter.Seq2[store.Sighting, error]) error {
	for seen, err := range all {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		p := &seen.Payout
		i, rule := d.rule(p.Key.ProjectID, p.Method, p.Amount.Currency)
		switch {
		case rule == nil || !seen.Counts():
		case seen.New:
			d.addNew(dayRow{i, rowOf(p), seen.Account, p.Amount.Minor})
		default:
			d.addBefore(i, seen.Account, p.Amount.Minor)
		}
	}
	d.sum()
	return nil
}

// dayRow is a new payout of the file.
type dayRow struct {
	rule    int
	row     uint32
	account store.Mark // zero: no limit is for it
	minor   int64
}

// dayRow is what a new row means for the limits of a day; false: nothing.
func (k *checking) dayRow(row int, d *draft) (r dayRow, limited bool) {
	if k.day == nil {
		return r, false
	}
	i, rule := k.Limits.rule(d.key.ProjectID, d.method, d.amount.Currency)
	if rule == nil || rule.Day == 0 && rule.PayeeDay == 0 {
		return r, false
	}
	r = dayRow{rule: i, row: uint32(row), minor: d.amount.Minor}
	if rule.PayeeDay > 0 {
		r.account = k.account(d.cells)
	}
	return r, true
}

func (d *dayLimits) addNew(r dayRow) {
	d.sums[r.rule].now = plus(d.sums[r.rule].now, r.minor)
	if d.Rules[r.rule].PayeeDay > 0 && r.account != (store.Mark{}) {
		d.payees[r.rule] = append(d.payees[r.rule], payeeSum{r.account, r.row, r.minor})
	}
}

// sum adds up the file's payouts by account: once, when all are there.
func (d *dayLimits) sum() {
	if d.whole {
		return
	}
	d.whole = true
	for i, list := range d.payees {
		slices.SortFunc(list, func(a, b payeeSum) int {
			return cmp.Or(bytes.Compare(a.account[:], b.account[:]), cmp.Compare(a.row, b.row))
		})
		n := 0
		for _, one := range list {
			if n > 0 && list[n-1].account == one.account {
				list[n-1].now = plus(list[n-1].now, one.now)
				continue
			}
			list[n] = one
			n++
		}
		d.payees[i] = list[:n]
	}
}

// addBefore counts a payout that came in earlier.
func (d *dayLimits) addBefore(rule int, account store.Mark, minor int64) {
	d.sum()
	d.sums[rule].before = plus(d.sums[rule].before, minor)
	list := d.payees[rule]
	at, found := slices.BinarySearchFunc(list, account, func(one payeeSum, account store.Mark) int { return bytes.Compare(one.account[:], account[:]) })
	if found {
		d.before[rule][at] = plus(d.before[rule][at], minor)
	}
}

// overDay makes problems of the sums that are over a day's limit, and to which the file adds.
func (d *dayLimits) overDay() (found problems) {
	for i, sum := range d.sums {
		r := &d.Rules[i]
		if r.Day == 0 || sum.now == 0 || sum.all() <= r.Day {
			continue
		}
		found.add(Problem{structure: true, Text: fmt.Sprintf("today %s came in already%s, this file adds %s: over %s a day%s",
			r.show(sum.before), r.of(), r.show(sum.now), r.show(r.Day), d.raise(fmt.Sprintf("limits.rules[%d].day", i)))})
	}
	return found
}

// overPayee is an account that is over a day's limit.
type overPayee struct {
	row  uint32 // the file's first that pays to it
	text string
}

func (d *dayLimits) overPayee() (all []overPayee) {
	for i, list := range d.payees {
		r := &d.Rules[i]
		key := fmt.Sprintf("limits.rules[%d].payee_day", i)
		for at, one := range list {
			was := d.before[i][at]
			if plus(was, one.now) <= r.PayeeDay {
				continue
			}
			before := ""
			if was > 0 {
				before = " after " + r.show(was) + " today"
			}
			all = append(all, overPayee{one.row, fmt.Sprintf("the file pays %s to this account%s: over %s a day to one account%s", r.show(one.now), before, r.show(r.PayeeDay), d.raise(key))})
		}
	}
	slices.SortFunc(all, func(a, b overPayee) int { return cmp.Compare(a.row, b.row) })
	return all
}

func (r *Rule) show(minor int64) string {
	return payout.Amount{Minor: minor, Currency: r.Currency}.String()
}

// of names what a rule is for; empty: all.
func (r *Rule) of() string {
	what := strings.TrimSpace(strings.Join([]string{projectName(r.Project), r.Method}, " "))
	if what == "" {
		return ""
	}
	return " (" + what + ")"
}
