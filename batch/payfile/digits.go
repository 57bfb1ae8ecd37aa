package payfile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// longNumbers counts the numbers of a column that a spreadsheet cannot hold: it keeps 15
// digits, and writes zeros for the others.
type longNumbers struct {
	n     int // of 16 digits and more
	zeros int // of these, with nothing but zeros after the 15th
	line  int // of the first
}

const spreadsheetDigits = 15

func (l longNumbers) add(later longNumbers) longNumbers {
	return longNumbers{l.n + later.n, l.zeros + later.zeros, cmp.Or(l.line, later.line)}
}

func (r *rules) countLong(place, line int, v string) {
	if len(v) <= spreadsheetDigits || r.long == nil || !allDigits(v) {
		return
	}
	is := longNumbers{n: 1, line: line}
	if strings.Trim(v[spreadsheetDigits:], "0") == "" {
		is.zeros = 1
	}
	r.long[place] = r.long[place].add(is)
}

// fifteenDigits finds columns in which all long numbers end with zeros: a problem where
// that is no accident.
func (k *checking) fifteenDigits() {
	for _, place := range slices.Sorted(maps.Keys(k.long)) {
		l := k.long[place]
		if l.zeros < l.n {
			continue
		}
		text := "a spreadsheet keeps 15 digits, and has perhaps turned the others into zeros: format the column as text and fill it in again"
		if l.n < 5 {
			k.warnings.add(l.line, fmt.Sprintf("%s: %s", k.cut.columns[place], text))
			continue
		}
		k.problems.add(Problem{Line: l.line, Column: k.cut.columns[place], structure: true,
			Text: fmt.Sprintf("all %d numbers of 16 digits and more end with zeros: %s", l.n, text)})
	}
}
