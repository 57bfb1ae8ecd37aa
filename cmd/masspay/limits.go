package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"masspay/batch"
	"masspay/batch/payfile"
	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// limitsConfig is what a finance team lets be paid. Amounts are text, in major units.
type limitsConfig struct {
	RunTotal string            `yaml:"run_total"`
	Timezone string            `yaml:"timezone"`
	Hours    []string          `yaml:"hours"`
	Sidecar  bool              `yaml:"sidecar"`
	Methods  []string          `yaml:"methods"`
	Banks    []string          `yaml:"banks"`
	Who      string            `yaml:"who"`
	Rules    []limitRuleConfig `yaml:"rules"`
}

type limitRuleConfig struct {
	Currency string `yaml:"currency"`
	Project  uint32 `yaml:"project"`
	Method   string `yaml:"method"`
	Least    string `yaml:"least"`
	Payout   string `yaml:"payout"`
	File     string `yaml:"file"`
	Day      string `yaml:"day"`
	PayeeDay string `yaml:"payee_day"`
}

// read reads a rule's amounts; problems are what is wrong with them.
func (r limitRuleConfig) read(key string) (out payfile.Rule, problems []string) {
	bad := func(format string, args ...any) {
		problems = append(problems, key+fmt.Sprintf(format, args...))
	}
	out = payfile.Rule{Currency: r.Currency, Project: r.Project, Method: r.Method}
	if _, known := payout.Exponent(r.Currency); !known {
		bad(".currency %s: want the three letters of a currency, as KGS", said(r.Currency))
		return out, problems
	}
	for _, v := range []struct {
		name, text string
		to         *int64
	}{{"least", r.Least, &out.Least}, {"payout", r.Payout, &out.Payout}, {"file", r.File, &out.File}, {"day", r.Day, &out.Day}, {"payee_day", r.PayeeDay, &out.PayeeDay}} {
		if v.text == "" {
			continue
		}
		a, err := payout.ParseTotal(v.text + r.Currency)
		if err != nil || a.Minor == 0 {
			bad(".%s %s: want an amount in %s, as %s", v.name, said(v.text), r.Currency, strings.TrimSuffix(payout.Amount{Minor: 15_000_000, Currency: r.Currency}.Total(), r.Currency))
			continue
		}
		*v.to = a.Minor
	}
	if out.Payout > 0 && out.Least > out.Payout {
		bad(".least is more than payout: no payout would pass")
	}
	if out.Least == 0 && out.Payout == 0 && out.File == 0 && out.Day == 0 && out.PayeeDay == 0 {
		bad(" limits nothing: it wants least, payout, file, day or payee_day")
	}
	return out, problems
}

// rules are the limits as a file is held against them, nil: there are none.
func (l limitsConfig) rules() (out *payfile.Limits, problems []string) {
	out = &payfile.Limits{Methods: l.Methods, Banks: l.Banks, Who: l.Who}
	for i, m := range l.Methods {
		if gate.LookupMethod(m) == nil {
			problems = append(problems, fmt.Sprintf("limits.methods[%d] %s: no such method", i, said(m)))
		}
	}
	for i, r := range l.Rules {
		key := fmt.Sprintf("limits.rules[%d]", i)
		rule, wrong := r.read(key)
		problems = append(problems, wrong...)
		if r.Method != "" && gate.LookupMethod(r.Method) == nil {
			problems = append(problems, fmt.Sprintf("%s.method %s: no such method", key, said(r.Method)))
		}
		before := slices.IndexFunc(out.Rules, func(b payfile.Rule) bool {
			return b.Currency == rule.Currency && (b.Project == 0 || b.Project == rule.Project) && (b.Method == "" || b.Method == rule.Method)
		})
		if before >= 0 && len(wrong) == 0 {
			problems = append(problems, fmt.Sprintf("%s is never used: rules[%d] counts for all that it is for; put the narrower one first", key, before))
		}
		out.Rules = append(out.Rules, rule)
	}
	if len(out.Methods) == 0 && len(out.Banks) == 0 && len(out.Rules) == 0 {
		return nil, problems
	}
	return out, problems
}

// breakersConfig says when so much goes wrong that a person must look.
type breakersConfig struct {
	DeclinedPercent int  `yaml:"declined_percent"`
	DeclinedLeast   int  `yaml:"declined_least"`
	Hold            bool `yaml:"hold"`
}

func (b breakersConfig) breaker() batch.Breaker { return batch.Breaker(b) }

func (b breakersConfig) validate() (problems []string) {
	if b.DeclinedPercent < 0 || b.DeclinedPercent > 99 {
		problems = append(problems, fmt.Sprintf("breakers.declined_percent %d: want 1 to 99, or 0 for no breaker", b.DeclinedPercent))
	}
	if b.DeclinedLeast < 1 {
		problems = append(problems, fmt.Sprintf("breakers.declined_least %d: want at least 1 verdict", b.DeclinedLeast))
	}
	return problems
}

// lookalikesConfig says what becomes of rows that look like another one, of their file or of
// one of the last days.
type lookalikesConfig struct {
	Days    int    `yaml:"days"`
	Twins   string `yaml:"twins"`
	IDs     string `yaml:"ids"`
	Changed string `yaml:"changed"`
}

const day = 24 * time.Hour

func (l lookalikesConfig) lookalikes(accept int, now time.Time) payfile.Lookalikes {
	out := payfile.Lookalikes{Twins: payfile.Policy(l.Twins), IDs: payfile.Policy(l.IDs), Changed: payfile.Policy(l.Changed), Accept: accept}
	if l.Days > 0 {
		out.Since = now.Add(-time.Duration(l.Days) * day)
	}
	return out
}

// bytesOfRow is what a check keeps of a row beside its id.
func (c *config) bytesOfRow() (n int64) {
	if payfile.Policy(c.Lookalikes.Twins) != payfile.Off {
		n += 16
	}
	if payfile.Policy(c.Lookalikes.IDs) != payfile.Off {
		n += 16
	}
	for _, r := range c.Limits.Rules {
		if r.PayeeDay != "" {
			return n + 24
		}
	}
	return n
}

// keepFor is for how long the store knows payouts again: for look-alikes, and for limits of
// a day, in whatever time zone.
func (l lookalikesConfig) keepFor() time.Duration {
	return max(time.Duration(l.Days)*day, store.KeptAnyway)
}

func (l lookalikesConfig) validate() (problems []string) {
	const most = 400
	if l.Days < 0 || l.Days > most {
		problems = append(problems, fmt.Sprintf("lookalikes.days %d: want 1 to %d, or 0 to look at the file alone", l.Days, most))
	}
	for _, v := range []struct{ key, is string }{{"twins", l.Twins}, {"ids", l.IDs}, {"changed", l.Changed}} {
		if !slices.Contains([]payfile.Policy{payfile.Off, payfile.Warn, payfile.Refuse}, payfile.Policy(v.is)) {
			problems = append(problems, fmt.Sprintf("lookalikes.%s %s: want off, warn or refuse", v.key, said(v.is)))
		}
	}
	return problems
}
