package payout

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mask hides the middle of a personal value, so that a person who knows it
// recognizes it and no one else learns it: "996555***67". Short values are
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
// who a person is or where the money goes. Unknown columns are personal.
func Personal(column string) bool {
	switch column {
	case "", "operation_type", "method", FieldAmount, FieldCurrency, "account.bank_code", FieldCustomer, "card.month", "card.year":
		return false
	}
	return !strings.HasPrefix(column, "general.") && !strings.HasPrefix(column, "callback.")
}

// MaskCells are a row's cells as a person may see them: personal ones masked.
func MaskCells(columns, cells []string) []string {
	shown := slices.Clone(cells)
	for i := range shown {
		if i >= len(columns) || Personal(columns[i]) {
			shown[i] = Mask(shown[i])
		}
	}
	return shown
}

// WithoutCells masks what a text of the gate repeats of a row's personal cells: in
// whatever capitals, with other signs between their words or in their numbers, and a part
// of a number of at least six signs. Short cells are only masked where they are words of their own,
// and single letters are left.
func WithoutCells(text string, columns, cells []string) string {
	if text == "" {
		return ""
	}
	var personal []string
	for i, c := range columns[:min(len(columns), len(cells))] {
		if Personal(c) && utf8.RuneCountInString(cells[i]) > 1 {
			personal = append(personal, cells[i])
		}
	}
	// The longest first: a name must not be masked within a longer one.
	slices.SortFunc(personal, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, cell := range personal {
		text = withoutCell(text, cell)
	}
	return withoutParts(text, personal)
}

// withoutCell masks one cell. What is longer than a message cannot be in it.
func withoutCell(text, cell string) string {
	words := strings.FieldsFunc(cell, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	const most = 300
	if len(words) == 0 || len(cell) > most {
		return text
	}
	between := `(?:[^\p{L}\p{N}]|&nbsp;)*`
	if number(cell) {
		words = strings.Split(strings.Join(words, ""), "")
		between = `[\s.\-]*`
	}
	if !mayRepeat(text, words) {
		return text
	}
	return maskWords(text, cell, words, between)
}

// mayRepeat reports whether all words are somewhere in a text, in whatever capitals. It
// spares most texts, which repeat nothing, an expression that is compiled for the cell.
func mayRepeat(text string, words []string) bool {
	for _, w := range words {
		if utf8.ValidString(w) && !containsFold(text, w) {
			return false
		}
	}
	return true
}

// containsFold is strings.Contains under simple folding, as (?i) and strings.EqualFold
// fold.
func containsFold(text, word string) bool {
	for i := range text {
		if beginsFold(text[i:], word) {
			return true
		}
	}
	return false
}

func beginsFold(text, word string) bool {
	for _, want := range word {
		r, size := utf8.DecodeRuneInString(text)
		if size == 0 || !sameFold(r, want) {
			return false
		}
		text = text[size:]
	}
	return true
}

func sameFold(a, b rune) bool {
	if a == b {
		return true
	}
	for f := unicode.SimpleFold(b); f != b; f = unicode.SimpleFold(f) {
		if f == a {
			return true
		}
	}
	return false
}

// maskWords masks the words of a cell where they follow one another, with what an
// expression says between them.
func maskWords(text, cell string, words []string, between string) string {
	for i, w := range words {
		words[i] = regexp.QuoteMeta(w)
	}
	folded, err := regexp.Compile("(?i)" + strings.Join(words, between))
	if err != nil { // it is no valid UTF-8
		return strings.ReplaceAll(text, cell, Mask(cell))
	}
	const alone = 5 // letters: shorter cells may be a part of any word
	short := utf8.RuneCountInString(cell) < alone
	var out strings.Builder
	last := 0
	for _, at := range folded.FindAllStringIndex(text, -1) {
		before, _ := utf8.DecodeLastRuneInString(text[:at[0]])
		after, _ := utf8.DecodeRuneInString(text[at[1]:])
		if short && (inWord(before) || inWord(after)) {
			continue
		}
		out.WriteString(text[last:at[0]])
		out.WriteString(Mask(text[at[0]:at[1]]))
		last = at[1]
	}
	out.WriteString(text[last:])
	return out.String()
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// number reports whether a cell is mostly digits, as accounts and telephone numbers are.
func number(cell string) bool {
	digits, all := 0, 0
	for _, r := range cell {
		if inWord(r) {
			all++
		}
		if unicode.IsDigit(r) {
			digits++
		}
	}
	return digits >= 4 && digits*2 > all
}

var signs = regexp.MustCompile(`[\p{L}\p{N}]{4,}`)

// withoutParts masks parts of numbers, as an account without its country, and a cell
// that the end of a message has cut off.
func withoutParts(text string, personal []string) string {
	const part, cut = 6, 250
	long := utf8.RuneCountInString(text) >= cut
	var out strings.Builder
	last := 0
	for _, at := range signs.FindAllStringIndex(text, -1) {
		sign := strings.ToUpper(text[at[0]:at[1]])
		hide := false
		for _, cell := range personal {
			joined := strings.ToUpper(strings.Map(func(r rune) rune {
				if inWord(r) {
					return r
				}
				return -1
			}, cell))
			hide = hide || len(sign) >= part && number(cell) && strings.Contains(joined, sign) ||
				long && at[1] == len(text) && strings.HasPrefix(joined, sign)
		}
		if hide {
			out.WriteString(text[last:at[0]])
			out.WriteString(Mask(text[at[0]:at[1]]))
			last = at[1]
		}
	}
	out.WriteString(text[last:])
	return out.String()
}
