package payfile

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"masspay/gate"
	"masspay/payout"
)

// header checks the columns. It reports whether rows can be read at all.
func (r *rules) header() bool {
	usable := true
	if p := r.nearly(); p != nil {
		r.problems.add(*p)
		return false
	}
	if !hasNames(r.columns) {
		r.problems.add(Problem{Line: 1, structure: true, Text: noNames})
		return false
	}
	seen := map[string]bool{}
	structural := func(column, text string) {
		r.problems.add(Problem{Line: 1, Column: column, Text: text, structure: true})
	}
	for i, c := range r.columns {
		switch {
		case c == "":
			structural("", fmt.Sprintf("column %d has no name: remove the column, or the delimiter at the end of the header", i+1))
			usable = false
		case seen[c]:
			structural(c, "duplicate column: keep one")
			usable = false
		case c == "general.signature":
			structural(c, "a file has no signatures: remove the column, masspay signs each request itself")
		case !knownName(c):
			structural(c, "unknown column: "+suggest(c))
		}
		seen[c] = true
	}
	for _, c := range baseColumns {
		if !seen[c] {
			structural(c, "the column is missing: every mass payment file has it")
			usable = false
		}
	}
	return usable
}

const noNames = "the first line has no column names: it must be the header, with operation_type, general.project_id, method, general.payment_id, payment.amount, payment.currency and what the method needs"

func knownName(c string) bool {
	return c == gate.ColOperation || c == gate.ColMethod || gate.KnownColumn(c)
}

// hasNames reports whether one of the columns that every file has is among some.
func hasNames(columns []string) bool {
	return slices.ContainsFunc(baseColumns, func(c string) bool { return slices.Contains(columns, c) })
}

// plainName is the name of a column as the format writes it.
func plainName(name string) string {
	return strings.ToLower(strings.TrimSpace(withoutInvisible(name)))
}

func withoutInvisible(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\ufeff' || unicode.In(c, unicode.Cf) {
			return -1
		}
		return c
	}, s)
}

// nearly finds names that are a column's but for capitals, spaces and what cannot be seen.
func (r *rules) nearly() *Problem {
	n, first, why := 0, "", ""
	for _, c := range r.columns {
		plain := plainName(c)
		if c == plain || !knownName(plain) {
			continue
		}
		if n++; n > 1 {
			continue
		}
		first = plain
		switch {
		case withoutInvisible(c) != c:
			why = "characters that cannot be seen"
		case strings.TrimSpace(c) != c:
			why = "spaces around it"
		default:
			why = "capital letters"
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return &Problem{Line: 1, structure: true, fixable: true, Text: fmt.Sprintf("the name of column %s has %s: write it as it is here", first, why)}
	}
	return &Problem{Line: 1, structure: true, fixable: true, Text: fmt.Sprintf("the names of %s columns have %s: write %s, and the others alike", payout.FormatNumber(n), strings.ReplaceAll(why, "around it", "around them"), first)}
}

// maxTitle is how many lines are looked through for a header that is not the first.
const maxTitle = 30

// misplaced says what the first line is instead of the header, where that is known. text begins
// with the first line of the file.
func misplaced(text []byte) *Problem {
	first, rest, _ := bytes.Cut(text, []byte{'\n'})
	if sep := sepLine(first); sep != 0 {
		where := ""
		if line := headerLine(rest); line > 0 {
			where = fmt.Sprintf("; the header is on line %d", line+1)
		}
		return &Problem{Line: 1, structure: true, fatal: true, fixable: true, Text: fmt.Sprintf("this is sep=%c, a line for a spreadsheet that the format does not have: delete it%s", sep, where)}
	}
	whole := strings.Trim(strings.TrimSpace(string(first)), `"`)
	if d := sniff(whole); !strings.ContainsRune(whole, '"') && bytes.HasPrefix(first, []byte{'"'}) && hasNames(plainNames(whole, d)) {
		return &Problem{Line: 1, structure: true, fatal: true, Text: fmt.Sprintf("each line is one cell in quotes: export it again with the columns divided by %q, without quotes around the whole line", d)}
	}
	if hasNames(plainNames(string(first), sniff(string(first)))) {
		return nil
	}
	if line := headerLine(rest); line > 0 {
		text := fmt.Sprintf("this is no header: the header is on line %d; delete what is above it", line+1)
		return &Problem{Line: 1, structure: true, fatal: true, Text: text}
	}
	return nil
}

// sepLine is the delimiter that a line names for a spreadsheet, 0: it is no such line.
func sepLine(line []byte) rune {
	text, ok := strings.CutPrefix(strings.ToLower(strings.Trim(strings.TrimRight(string(line), "\r"), `"`)), "sep=")
	if rest := []rune(text); ok && len(rest) == 1 {
		return rest[0]
	}
	return 0
}

// headerLine is the line, from 1, of a header among the next ones; 0: there is none.
func headerLine(text []byte) int {
	for n := 1; n <= maxTitle && len(text) > 0; n++ {
		line, rest, _ := bytes.Cut(text, []byte{'\n'})
		if s := string(line); hasNames(plainNames(s, sniff(s))) {
			return n
		}
		text = rest
	}
	return 0
}

// plainNames are the names of a header's columns, however they are written.
func plainNames(line string, delimiter rune) (names []string) {
	for name := range strings.SplitSeq(strings.TrimRight(line, "\r"), string(delimiter)) {
		names = append(names, plainName(strings.Trim(strings.TrimSpace(name), `"`)))
	}
	return names
}
