package payfile

import (
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
		if found := d.over(); found.count > 0 {
			return &FileError{Name: file, Problems: found.all(), Count: found.count}
		}
		return nil
	}}
	return a, l.ofDay()
}

// ofDay reports whether a rule limits a day.
func (l *Limits) ofDay() bool {
	return l != nil && slices.ContainsFunc(l.Rules, func(r Rule) bool { return r.Day > 0 || r.PayeeDay > 0 })
}

// dayLimits are the sums of a day by rule, and by rule and payee.
type dayLimits struct {
	*Limits
	sums   []daySum
	payees map[payee]*payeeSum
}

func newDayLimits(l *Limits) *dayLimits {
	return &dayLimits{Limits: l, sums: make([]daySum, len(l.Rules)), payees: map[payee]*payeeSum{}}
}

// daySum is what came in before the file, and with it.
type daySum struct{ before, now int64 }

func (s daySum) all() int64 { return plus(s.before, s.now) }

// dayRow is a new payout of a file that is checked.
type dayRow struct {
	row     int
	is      draft
	account store.Mark
}

type payee struct {
	rule int
	mark store.Mark
}

// payeeSum is that of one account, with the file's first payout to it.
type payeeSum struct {
	daySum
	at         int // its place in the file
	id, masked string
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
		switch {
		case !seen.Counts():
		case seen.New:
			d.addNew(p.Key, p.Method, p.Amount, seen.Account, p.Masked, int(p.Places[len(p.Places)-1].Index))
		default:
			d.addBefore(p, seen.Account)
		}
	}
	return nil
}

// addNew counts a payout of the file.
func (d *dayLimits) addNew(key payout.Key, method string, amount payout.Amount, account store.Mark, masked string, at int) {
	i, rule := d.rule(key.ProjectID, method, amount.Currency)
	if rule == nil {
		return
	}
	d.sums[i].now = plus(d.sums[i].now, amount.Minor)
	if rule.PayeeDay == 0 || account == (store.Mark{}) {
		return
	}
	one := d.payees[payee{i, account}]
	if one == nil {
		one = &payeeSum{at: math.MaxInt}
		d.payees[payee{i, account}] = one
	}
	one.now = plus(one.now, amount.Minor)
	if at < one.at {
		one.at, one.id, one.masked = at, strings.Clone(key.PaymentID), strings.Clone(masked)
	}
}

// addBefore counts a payout that came in earlier.
func (d *dayLimits) addBefore(p *payout.Payout, account store.Mark) {
	i, rule := d.rule(p.Key.ProjectID, p.Method, p.Amount.Currency)
	if rule == nil {
		return
	}
	d.sums[i].before = plus(d.sums[i].before, p.Amount.Minor)
	if one := d.payees[payee{i, account}]; one != nil {
		one.before = plus(one.before, p.Amount.Minor)
	}
}

// over makes problems of the sums that are over a limit to which the file adds.
func (d *dayLimits) over() (found problems) {
	for i, sum := range d.sums {
		r := &d.Rules[i]
		if r.Day == 0 || sum.now == 0 || sum.all() <= r.Day {
			continue
		}
		found.add(Problem{structure: true, Text: fmt.Sprintf("today %s came in already%s, this file adds %s: over %s a day%s",
			r.show(sum.before), r.of(), r.show(sum.now), r.show(r.Day), d.raise(fmt.Sprintf("limits.rules[%d].day", i)))})
	}
	over := slices.Collect(maps.Keys(d.payees))
	over = slices.DeleteFunc(over, func(to payee) bool { return d.payees[to].all() <= d.Rules[to.rule].PayeeDay })
	slices.SortFunc(over, func(a, b payee) int { return cmp.Compare(d.payees[a].at, d.payees[b].at) })
	for _, to := range over {
		one, r := d.payees[to], &d.Rules[to.rule]
		key := fmt.Sprintf("limits.rules[%d].payee_day", to.rule)
		before := ""
		if one.before > 0 {
			before = " after " + r.show(one.before) + " today"
		}
		found.add(Problem{structure: true, kind: key, Text: fmt.Sprintf("%s to %s (%s)%s: over %s a day to one account%s",
			r.show(one.now), one.masked, result.ShellWord(one.id), before, r.show(r.PayeeDay), d.raise(key))})
	}
	return found
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
