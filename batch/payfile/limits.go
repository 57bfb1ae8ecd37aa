package payfile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// Limits are what a finance team lets be paid. They hold for a file as a whole, so that no
// row is left out for them.
type Limits struct {
	Methods []string // that may be used; empty: all
	Banks   []string // account.bank_code; empty: all
	Rules   []Rule
	Who     string // may raise them; "": not said
}

// Rule limits payouts of a currency, by all methods and of all projects where it names
// none. The first rule that fits a payout counts.
type Rule struct {
	Currency string
	Project  uint32 // 0: any
	Method   string // "": any
	Least    int64  // of a payout, in minor units; 0: no such limit
	Payout   int64  // most of a payout
	File     int64  // most of the file's payouts that the rule is for, together
	Day      int64  // most of all that come in on a day, together
	PayeeDay int64  // most of those to one account
}

func (r *Rule) fits(project uint32, method, currency string) bool {
	return r.Currency == currency && (r.Project == 0 || r.Project == project) && (r.Method == "" || r.Method == method)
}

// rule is the one that counts for a payout; nil: none.
func (l *Limits) rule(project uint32, method, currency string) (i int, r *Rule) {
	for i := range l.Rules {
		if l.Rules[i].fits(project, method, currency) {
			return i, &l.Rules[i]
		}
	}
	return 0, nil
}

// raise says which limit it was, and who may raise it.
func (l *Limits) raise(key string) string {
	if l.Who == "" {
		return " (" + key + ")"
	}
	return " (" + key + "; " + l.Who + " may raise it)"
}

// limited holds a row that is right against the limits. Its problems are the file's: leaving
// the row out would hide them.
func (r *rules) limited(d *draft) {
	l := r.limits
	if l == nil {
		return
	}
	refuse := func(column, value, key, text string) {
		p := newProblem(d.line, column, value, text+l.raise(key))
		p.structure, p.kind = true, key
		r.problems.add(p)
	}
	if len(l.Methods) > 0 && !slices.Contains(l.Methods, d.method) {
		refuse(gate.ColMethod, d.method, "limits.methods", "not among the methods that may be used")
	}
	switch {
	case len(l.Banks) == 0 || slices.Contains(l.Banks, d.bank):
	case d.bank != "":
		refuse(gate.ColBank, d.bank, "limits.banks", "not among the banks that may be used")
	case !slices.Contains(l.Methods, d.method): // a method that is allowed by its name may name its bank otherwise, or none
		refuse(gate.ColBank, "", "limits.banks", "no bank is named here, and only some may be used; or allow the method by its name, in limits.methods")
	}
	i, rule := l.rule(d.key.ProjectID, d.method, d.amount.Currency)
	if rule == nil {
		return
	}
	value := fmt.Sprint(d.amount.Minor)
	limit := func(minor int64) payout.Amount { return payout.Amount{Minor: minor, Currency: rule.Currency} }
	if rule.Payout > 0 && d.amount.Minor > rule.Payout {
		refuse(gate.ColAmount, value, fmt.Sprintf("limits.rules[%d].payout", i), fmt.Sprintf("%s is over %s a payout", d.amount, limit(rule.Payout)))
	}
	if d.amount.Minor < rule.Least {
		refuse(gate.ColAmount, value, fmt.Sprintf("limits.rules[%d].least", i), fmt.Sprintf("%s is under %s a payout: are these minor units?", d.amount, limit(rule.Least)))
	}
}

// file holds the sums of a file against the limits. Currencies that no rule is for are
// named.
func (l *Limits) file(groups []Group) (problems []Problem, without []string) {
	sums := make([]int64, len(l.Rules))
	for _, g := range groups {
		i, rule := l.rule(g.Project, g.Method, g.Currency)
		if rule == nil {
			if !slices.Contains(without, g.Currency) {
				without = append(without, g.Currency)
			}
			continue
		}
		sums[i] += g.Minor // of one file and currency: no overflow
	}
	for i, sum := range sums {
		r := l.Rules[i]
		if r.File == 0 || sum <= r.File {
			continue
		}
		what := cmp.Or(strings.TrimSpace(strings.Join([]string{projectName(r.Project), r.Method}, " ")), "all")
		problems = append(problems, Problem{structure: true, Text: fmt.Sprintf("the file's payouts (%s) add up to %s: over %s a file%s", what,
			payout.Amount{Minor: sum, Currency: r.Currency}, payout.Amount{Minor: r.File, Currency: r.Currency}, l.raise(fmt.Sprintf("limits.rules[%d].file", i)))})
	}
	return problems, without
}

func projectName(p uint32) string {
	if p == 0 {
		return ""
	}
	return fmt.Sprintf("project %d", p)
}

// Loaded holds a batch that is loaded against the limits, as they are now: every payout of it
// that may still be sent, and the sums of all. It returns a *FileError.
func (l *Limits) Loaded(ctx context.Context, s store.Store, b store.Batch) error {
	var found problems
	var t tally
	r := newRules(b.Columns, nil, &found, &warnings{})
	r.limits = l
	for line, err := range s.Lines(ctx, b.ID) {
		if err != nil {
			return err
		}
		p := &line.Payout
		if line.Skip != "" || p.State == payout.StateCancelled {
			continue
		}
		d := draft{line: line.Line, key: p.Key, method: p.Method, amount: p.Amount}
		if m := r.method(line.Line, p.Method); m != nil {
			d.bank = r.bank(m.composer, line.Cells)
		}
		if p.State == payout.StateNew || p.State == payout.StateSending || p.State == payout.StateUnknown {
			r.limited(&d)
		}
		t.add(d)
	}
	sums, _ := l.file(t.groupList())
	for _, p := range sums {
		found.add(p)
	}
	if found.count == 0 {
		return nil
	}
	return &FileError{Name: b.Name, Problems: found.all(), Count: found.count}
}
