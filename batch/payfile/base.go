package payfile

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"masspay/gate"
	"masspay/payout"
)

// totalWords begin the line that spreadsheets put under a column of numbers.
var totalWords = []string{"total", "sum", "subtotal", "grand total", "итого", "всего", "сумма", "жыйынтыгы", "бардыгы"}

func (r *rules) operation(line int, v string, cells []string) bool {
	if v == "payout" {
		return true
	}
	for _, c := range cells {
		word := strings.ToLower(strings.Trim(c, " :="))
		if slices.Contains(totalWords, word) {
			r.problem(line, "", "", "this looks like a total line, not a payout: delete it")
			return false
		}
	}
	text := "only payout can be sent"
	if v == "" {
		text = "empty: write payout"
	} else if strings.EqualFold(strings.TrimSpace(v), "payout") {
		text = "write payout, in small letters and without spaces"
	}
	r.problem(line, gate.ColOperation, v, text)
	return false
}

func (r *rules) project(line int, v string) uint32 {
	if known := r.project0; known.cell == v && known.id != 0 && r.projects(known.id) && (v[0] != '0' && v[0] != '+') {
		return known.id
	}
	n, err := strconv.ParseUint(v, 10, 32)
	switch {
	case v == "":
		r.problem(line, gate.ColProject, v, "empty: write the number of your project")
	case err != nil || strconv.FormatUint(n, 10) != v || n == 0:
		r.problem(line, gate.ColProject, v, "not a project number: digits only, as the platform gave it to you")
	case !r.projects(uint32(n)):
		r.problem(line, gate.ColProject, v, "this project is not configured: correct the row, or add the project and its secret to the configuration")
	}
	return uint32(n)
}

func (r *rules) paymentID(line int, v string) string {
	switch {
	case v == "":
		r.problem(line, gate.ColPaymentID, v, "empty: each payout needs its own")
	case spaced(v):
		r.problem(line, gate.ColPaymentID, v, "spaces around the id: remove them")
	case utf8.RuneCountInString(v) > 255:
		r.problem(line, gate.ColPaymentID, v, "longer than 255 characters")
	case unsafe(v) != "":
		r.problem(line, gate.ColPaymentID, v, unsafe(v))
	case mayBeDate(v) && date.MatchString(v):
		r.warnings.add(line, gate.ColPaymentID+" "+looksLikeDate)
	default:
		r.suspect(line, gate.ColPaymentID, v, codes, true)
	}
	return v
}

// mayBeDate is a quick look whether an id may be a date.
func mayBeDate(v string) bool {
	switch i := strings.IndexAny(v, "./-"); i {
	case 1, 2: // 1.11.2026
		return v[0] >= '0' && v[0] <= '9'
	case len("nov"), len("ноя"):
		return len(v) == i+len("-26")
	}
	return false
}

// suspect tells the damage that a value shows. It reports whether that is a problem.
func (r *rules) suspect(line int, column, v string, kind columnKind, required bool) bool {
	problem, warning := suspect(v, kind, required)
	switch problem {
	case "":
	case spreadsheetError, questionMarks, noValue:
		r.problems.add(Problem{Line: line, Column: column, Value: v, Text: problem}) // nothing of it is personal
	default:
		r.problem(line, column, v, problem)
	}
	if warning != "" {
		r.warnings.add(line, column+" "+warning)
	}
	return problem != ""
}

func (r *rules) currency(line int, v string, m *methodRules) string {
	is, looked := r.currencies[v]
	if !looked {
		_, is.known = payout.Exponent(v)
		is.current = payout.CurrentCurrency(v, r.now)
		if is.known {
			r.currencies[v] = is
		}
	}
	if is.current && (m == nil || m.spec.Currency == "" || v == m.spec.Currency) {
		return v
	}
	known := is.known
	upper := strings.ToUpper(strings.TrimSpace(v))
	_, would := payout.Exponent(upper)
	switch {
	case v == "":
		r.problem(line, gate.ColCurrency, v, "empty: write the three letters of the currency, e.g. KGS")
	case !known && would:
		r.problem(line, gate.ColCurrency, v, "write "+upper+", in capital letters and without spaces")
	case !known:
		r.problem(line, gate.ColCurrency, v, "not a currency of ISO 4217, e.g. KGS")
	case !is.current:
		r.problem(line, gate.ColCurrency, v, "this currency is no longer in force")
	case m != nil && m.spec != nil && m.spec.Currency != "" && v != m.spec.Currency:
		r.problem(line, gate.ColCurrency, v, "this method pays only "+m.spec.Currency)
	}
	return v
}
