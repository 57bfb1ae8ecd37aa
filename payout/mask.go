package payout

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mask hides the middle of a personal value, so that a person who knows it
// recognizes it and nobody else learns it: "996555***67". Short values are
// hidden whole.
func Mask(s string) string {
	r := []rune(s)
	switch {
	case len(r) == 0:
		return ""
	case len(r) <= 4:
		return strings.Repeat("*", len(r))
	case len(r) <= 8:
		return string(r[:1]) + "***" + string(r[len(r)-1:])
	case len(r) <= 12:
		return string(r[:3]) + "***" + string(r[len(r)-2:])
	}
	return string(r[:4]) + "***" + string(r[len(r)-3:])
}

// Personal reports whether the cells of a column of the mass payment format may say
// who somebody is or where his money goes. Columns that nobody knows are personal.
func Personal(column string) bool {
	switch column {
	case "", "operation_type", "method", FieldAmount, FieldCurrency, "account.bank_code", FieldCustomer, "card.month", "card.year":
		return false
	}
	return !strings.HasPrefix(column, "general.") && !strings.HasPrefix(column, "callback.")
}

// WithoutCells masks what a text of the gate repeats of a row's personal cells, in
// whatever capitals. Cells of one or two letters are left: they name nobody.
func WithoutCells(text string, columns, cells []string) string {
	if text == "" {
		return ""
	}
	var personal []string
	for i, c := range columns[:min(len(columns), len(cells))] {
		if utf8.RuneCountInString(cells[i]) > 2 && Personal(c) {
			personal = append(personal, cells[i])
		}
	}
	// The longest first: a name must not be masked within a longer one.
	slices.SortFunc(personal, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, cell := range personal {
		folded, err := regexp.Compile("(?i)" + regexp.QuoteMeta(cell))
		if err != nil { // it is no valid UTF-8
			text = strings.ReplaceAll(text, cell, Mask(cell))
			continue
		}
		text = folded.ReplaceAllStringFunc(text, Mask)
	}
	return text
}
