package payfile

import (
	"fmt"
	"regexp"
	"strings"

	"masspay/gate"
)

// suggest says what to do about a column that no one knows.
func suggest(column string) (remedy string) {
	known := append([]string{gate.ColOperation, gate.ColMethod}, gate.Columns()...)
	if c := Nearest(strings.ToLower(strings.TrimSpace(column)), known, 3); c != "" {
		return fmt.Sprintf("did you mean %s?", c)
	}
	return "names are dotted paths of the Gate API such as account.number; remove the column if it is a note of your own"
}

func unknownMethod(v string) string {
	switch {
	case v == "":
		return "empty: write the payment method, e.g. sbp-p2p"
	case strings.Contains(v, "..") || strings.HasPrefix(v, "/"):
		return "a method is a name such as sbp-p2p or banks/spei, not a path"
	}
	if at := mixedScripts(v); at != "" {
		return at
	}
	lower := strings.ToLower(strings.TrimSpace(v))
	// A short name has other methods within a few letters, and they pay somebody else.
	if m := Nearest(lower, gate.Methods(), min(3, len(lower)/4)); m != "" {
		return fmt.Sprintf("payment method is not available: did you mean %s?", m)
	}
	return "payment method is not available: e.g. sbp-p2p, card, mobile, banks/<name>"
}

// unknownBank says what to think of a bank's code that is not on the list.
func unknownBank(v string, banks []string) string {
	like := ""
	if b := Nearest(strings.ToLower(strings.TrimSpace(v)), banks, min(2, len(v)/3)); b != "" {
		like = fmt.Sprintf("did you mean %s? It is ", b)
	}
	return like + fmt.Sprintf("not among the known banks (%s); sent as it is, the list may have changed", strings.Join(banks, ", "))
}

// looksRight reports whether a value may be what its column is for. In a row
// whose cells have shifted, a phone number may be under currency.
func looksRight(column, value string) bool {
	switch column {
	case gate.ColOperation, gate.ColMethod:
		lower := strings.ToLower(value)
		return (value == lower || Nearest(lower, append(gate.Methods(), "payout"), 3) != "") &&
			!strings.ContainsAny(value, "@ ") && !longDigits.MatchString(value)
	case gate.ColBank:
		return !strings.ContainsAny(value, "@ ") && !longDigits.MatchString(value)
	case gate.ColCurrency:
		return len(value) <= 5
	case gate.ColAmount:
		return notAmount.FindString(value) == "" && len(value) <= 20
	case gate.ColProject:
		return len(value) <= 10
	}
	return true
}

var (
	longDigits = regexp.MustCompile(`[0-9]{6,}`)
	notAmount  = regexp.MustCompile(`[^\p{Nd}.,+\-eExX '’\p{Zs}]`)
)
