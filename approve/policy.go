package approve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"masspay/payout"
)

// Policy says how many persons must release a file.
type Policy struct {
	Prepared bool          // and another one must say that they made it
	MaxAge   time.Duration // of a statement; 0: any
	Rules    []Rule        // by the file's total, for each currency
}

// Rule is for files up to a total.
type Rule struct {
	UpTo    payout.Amount
	Signers int
	OneOf   []string // one of these must be among them; empty: anyone
}

// Judgement is what approvals come to.
type Judgement struct {
	Need     int      // persons that must release
	Have     []string // persons that do
	Prepared []string // persons that say that they made it
	OneOf    []string // one of these must release, and none does
	Missing  string   // what is missing, in words; "": nothing
	Counted  []int    // which approvals count
	Ignored  []string // those that do not, and why
}

// Judge holds approvals against the policy: who releases this content, and nothing else, by
// keys that count now. Who prepared a file does not count for its release.
func (p Policy) Judge(l Signers, approvals []Approval, about payout.Content, now time.Time) Judgement {
	var j Judgement
	for i, a := range approvals {
		v, err := l.Verify(a, now)
		switch {
		case err != nil:
		case !v.About(about):
			err = fmt.Errorf("it is about another file, or other rows of it")
		case p.MaxAge > 0 && now.Sub(v.At) > p.MaxAge:
			err = fmt.Errorf("it is of %s, and older than %v (approval.max_age)", v.At.UTC().Format(time.RFC3339), p.MaxAge)
		case v.At.Sub(now) > 5*time.Minute:
			err = fmt.Errorf("it is of %s, which is not yet", v.At.UTC().Format(time.RFC3339))
		}
		if err != nil {
			j.Ignored = append(j.Ignored, fmt.Sprintf("%s does not count: %v", a.Name, err))
			continue
		}
		j.Counted = append(j.Counted, i)
		list := &j.Have
		if v.Role == payout.Prepares {
			list = &j.Prepared
		}
		if !slices.Contains(*list, v.Person) {
			*list = append(*list, v.Person)
		}
	}
	j.Have = slices.DeleteFunc(j.Have, func(person string) bool { return slices.Contains(j.Prepared, person) })
	slices.Sort(j.Have)
	slices.Sort(j.Prepared)
	j.Missing = p.missing(&j, about.Totals)
	return j
}

// missing says what is missing, and how many must release.
func (p Policy) missing(j *Judgement, totals []payout.Amount) string {
	for _, total := range totals {
		i := slices.IndexFunc(p.Rules, func(r Rule) bool { return r.UpTo.Currency == total.Currency && total.Minor <= r.UpTo.Minor })
		if i < 0 {
			return fmt.Sprintf("no rule says who may release %s (approval.rules)", total)
		}
		r := p.Rules[i]
		j.Need = max(j.Need, r.Signers)
		if len(r.OneOf) > 0 && !slices.ContainsFunc(r.OneOf, func(person string) bool { return slices.Contains(j.Have, person) }) {
			j.OneOf = r.OneOf
		}
	}
	by := ""
	if len(j.Have) > 0 {
		by = " (" + strings.Join(j.Have, ", ") + ")"
	}
	switch {
	case len(j.Have) < j.Need:
		return fmt.Sprintf("%d of %s%s", len(j.Have), approvals(j.Need), by)
	case len(j.OneOf) > 0:
		return fmt.Sprintf("%s%s, and none of %s, one of whom must be among them", approvals(len(j.Have)), by, strings.Join(j.OneOf, ", "))
	case p.Prepared && len(j.Prepared) == 0:
		return approvals(len(j.Have)) + by + ", and no one says that they prepared it (approval.prepared)"
	}
	return ""
}

func approvals(n int) string {
	if n == 1 {
		return "1 approval"
	}
	return fmt.Sprintf("%d approvals", n)
}
