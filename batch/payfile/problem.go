package payfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"masspay/payout"
)

// maxProblems is how many problems are kept to be shown; all are counted.
const maxProblems = 1000

// Problem is one thing wrong with a file: where, what, and what to do. It
// prints on one line and holds no personal value in the clear.
type Problem struct {
	Line   int    // physical line, 0: the file as a whole
	Column string // dotted path, empty: the row or the file as a whole
	Value  string // as it is, or masked where it is personal
	Text   string // what is wanted instead, with a remedy

	structure bool // the file's structure, which --skip-invalid does not skip
	fatal     bool // reading cannot go on after it

	once string // not empty: each worker finds it, and it is told once
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	b.WriteString(p.Column)
	if p.Value != "" {
		if p.Column != "" {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Quote(p.Value))
	}
	if p.Column != "" || p.Value != "" {
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Warning is something that does not keep a file from being paid, told once
// for all rows that it is about.
type Warning struct {
	Line int // the first
	Rows int // how many
	Text string
}

func (w Warning) String() string {
	s := w.Text
	if w.Line > 0 {
		s = fmt.Sprintf("line %d: %s", w.Line, s)
	}
	if w.Rows > 1 {
		s += fmt.Sprintf(" (and %s more rows)", payout.FormatNumber(w.Rows-1))
	}
	return s
}

func (p *Problem) Error() string { return p.String() }

// problems collects the first maxProblems in line order and counts the rest.
type problems struct {
	kept      []Problem
	count     int
	structure int
	told      map[string]bool
}

func (ps *problems) add(p Problem) {
	if p.once != "" {
		if ps.told[p.once] {
			return
		}
		if ps.told == nil {
			ps.told = map[string]bool{}
		}
		ps.told[p.once] = true
	}
	ps.count++
	if p.structure {
		ps.structure++
	}
	ps.kept = append(ps.kept, p)
	if len(ps.kept) >= 2*maxProblems {
		ps.prune()
	}
}

// merge takes over the problems of rows that come later.
func (ps *problems) merge(later *problems) {
	for _, p := range later.kept {
		ps.add(p)
		later.count--
		if p.structure {
			later.structure--
		}
	}
	ps.count += later.count // those that were not kept
	ps.structure += later.structure
}

// firstSince is the first problem since a count, without its line.
func (ps *problems) firstSince(count int) string {
	if n := len(ps.kept) - (ps.count - count); n >= 0 && n < len(ps.kept) {
		p := ps.kept[n]
		p.Line = 0
		return p.String()
	}
	return "the row has a problem of its own"
}

func (ps *problems) prune() []Problem {
	slices.SortStableFunc(ps.kept, func(a, b Problem) int { return a.Line - b.Line })
	if len(ps.kept) > maxProblems {
		ps.kept = ps.kept[:maxProblems]
	}
	return ps.kept
}

// warnings collects warnings by their text.
type warnings struct {
	list  []*Warning
	index map[string]*Warning
}

func (ws *warnings) add(line int, text string) {
	if ws.index == nil {
		ws.index = map[string]*Warning{}
	}
	w := ws.index[text]
	if w == nil {
		if len(ws.list) >= maxProblems {
			return
		}
		w = &Warning{Line: line, Text: text}
		ws.index[text] = w
		ws.list = append(ws.list, w)
	}
	w.Rows++
}

// merge takes over the warnings of rows that come later.
func (ws *warnings) merge(later *warnings) {
	for _, w := range later.list {
		if ws.add(w.Line, w.Text); ws.index[w.Text] != nil {
			ws.index[w.Text].Rows += w.Rows - 1
		}
	}
}

func (ws *warnings) all() []Warning {
	out := make([]Warning, len(ws.list))
	for i, w := range ws.list {
		out[i] = *w
	}
	slices.SortStableFunc(out, func(a, b Warning) int { return a.Line - b.Line })
	return out
}

// FileError says that a file was refused. Nothing of it was sent or stored.
type FileError struct {
	Name     string
	Problems []Problem // the first 1,000, in line order
	Count    int       // all of them
	Warnings []Warning // what is odd besides
}

func (e *FileError) Error() string {
	n := payout.FormatNumber(e.Count) + " problems"
	if e.Count == 1 {
		n = "1 problem"
	}
	return fmt.Sprintf("%s: %s, nothing was sent", e.Name, n)
}
