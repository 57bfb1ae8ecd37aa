package payfile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"masspay/payout"
)

// maxProblems is how many different problems are kept to be shown; all are counted.
const maxProblems = 1000

// Problem is one thing wrong with a file: where, what, and what to do. It
// prints on one line and holds no personal value in the clear. Rows that have the same
// problem share one.
type Problem struct {
	Line   int    // physical line of the first, 0: the file as a whole
	Column string // dotted path, empty: the row or the file as a whole
	Value  string // of the first, as it is, or masked where it is personal
	Text   string // what is wanted instead, with a remedy
	Also   Lines  // of the other rows that have it

	fixable   bool // Fix puts it right
	structure bool // the file's structure, which --skip-invalid does not skip
	fatal     bool // reading cannot go on after it

	kind string // not empty: what makes it equal to others, instead of its text
	once string // not empty: each worker finds it, and it is told once
}

func (p Problem) String() string {
	text := p.alone()
	if p.Also.N > 0 {
		text += " (also " + p.Also.String() + ")"
	}
	return text
}

// alone is the problem of the first row.
func (p Problem) alone() string {
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

// Rows is how many rows have the problem.
func (p Problem) Rows() int { return 1 + p.Also.N }

func (p *Problem) Error() string { return p.String() }

// Warning is something that does not keep a file from being paid, told once
// for all rows that it is about.
type Warning struct {
	Line int // the first; 0: the file as a whole
	Text string
	Also Lines // of the other rows that it is about

	urgent bool // it stands before the others
}

func (w Warning) String() string {
	s := w.Text
	if w.Line > 0 {
		s = fmt.Sprintf("line %d: %s", w.Line, s)
	}
	if w.Also.N > 0 {
		s += " (also " + w.Also.String() + ")"
	}
	return s
}

// Lines are line numbers in order. A few ranges of them are kept, all are counted.
type Lines struct {
	N      int
	Ranges [][2]int // first and last; fewer than N lines where there were too many
}

// maxRanges is how many ranges of lines are kept.
const maxRanges = 12

func (ls *Lines) add(first, last int) {
	ls.N += last - first + 1
	if n := len(ls.Ranges); n > 0 && ls.Ranges[n-1][1] == first-1 {
		ls.Ranges[n-1][1] = last
		return
	}
	if len(ls.Ranges) < maxRanges {
		ls.Ranges = append(ls.Ranges, [2]int{first, last})
	}
}

// butFirst are all lines but the first.
func (ls Lines) butFirst() Lines {
	ls.N--
	ls.Ranges = slices.Clone(ls.Ranges)
	if ls.Ranges[0][0]++; ls.Ranges[0][0] > ls.Ranges[0][1] {
		ls.Ranges = ls.Ranges[1:]
	}
	return ls
}

// merge adds lines that come later.
func (ls *Lines) merge(later Lines) {
	kept := 0
	for _, r := range later.Ranges {
		ls.add(r[0], r[1])
		kept += r[1] - r[0] + 1
	}
	ls.N += later.N - kept
}

// String is "line 7", or "lines 3, 5 to 9 and 120 more rows".
func (ls Lines) String() string {
	const shown = 6
	var parts []string
	told := 0
	for _, r := range ls.Ranges[:min(len(ls.Ranges), shown)] {
		told += r[1] - r[0] + 1
		switch r[1] - r[0] {
		case 0:
			parts = append(parts, payout.FormatNumber(r[0]))
		case 1:
			parts = append(parts, payout.FormatNumber(r[0]), payout.FormatNumber(r[1]))
		default:
			parts = append(parts, payout.FormatNumber(r[0])+" to "+payout.FormatNumber(r[1]))
		}
	}
	if more := ls.N - told; more > 0 {
		return "lines " + strings.Join(parts, ", ") + " and " + payout.FormatNumber(more) + " more"
	}
	if ls.N == 1 {
		return "line " + parts[0]
	}
	if n := len(parts) - 1; n > 0 {
		return "lines " + strings.Join(parts[:n], ", ") + " and " + parts[n]
	}
	return "lines " + parts[0]
}

// problems collects what is wrong, rows with the same problem together: the first
// maxProblems that differ, and the count of all.
type problems struct {
	kept      []*Problem
	count     int
	structure int
	told      map[string]bool
	index     map[string]*Problem // by column and text
	unkept    int                 // rows whose problem is not among them
	unkeptOf  int                 // of these, of the structure
	first     string              // since mark
}

// mark forgets what the first problem was.
func (ps *problems) mark() { ps.first = "" }

// firstSince is the first problem since mark, without its line.
func (ps *problems) firstSince() string { return ps.first }

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
	if ps.first == "" {
		nowhere := p
		nowhere.Line = 0
		ps.first = nowhere.alone()
	}
	ps.count += p.Rows()
	if p.structure {
		ps.structure += p.Rows()
	}
	key := p.Column + "\x00" + cmp.Or(p.kind, p.Text)
	switch same := ps.index[key]; {
	case same != nil && p.Line > 0 && same.Line > 0:
		same.Also.add(p.Line, p.Line)
		same.Also.merge(p.Also)
	case len(ps.kept) >= maxProblems && !p.fatal:
		ps.unkept += p.Rows()
		if p.structure {
			ps.unkeptOf += p.Rows()
		}
	default:
		if ps.index == nil {
			ps.index = map[string]*Problem{}
		}
		ps.kept = append(ps.kept, &p)
		ps.index[key] = &p
	}
}

// merge takes over the problems of rows that come later.
func (ps *problems) merge(later *problems) {
	for _, p := range later.kept {
		ps.add(*p)
	}
	ps.count, ps.structure = ps.count+later.unkept, ps.structure+later.unkeptOf
	ps.unkept, ps.unkeptOf = ps.unkept+later.unkept, ps.unkeptOf+later.unkeptOf
}

// all are the problems in the order of their first lines.
func (ps *problems) all() []Problem {
	out := make([]Problem, len(ps.kept))
	for i, p := range ps.kept {
		out[i] = *p
	}
	slices.SortStableFunc(out, func(a, b Problem) int { return a.Line - b.Line })
	return out
}

// warnings collects warnings by their text.
type warnings struct {
	list  []*Warning
	index map[string]*Warning
}

func (ws *warnings) add(line int, text string) { ws.put(Warning{Line: line, Text: text}) }

func (ws *warnings) put(w Warning) {
	if same := ws.index[w.Text]; same != nil {
		if w.Line > 0 {
			same.Also.add(w.Line, w.Line)
		}
		same.Also.merge(w.Also)
		return
	}
	if len(ws.list) >= maxProblems {
		return
	}
	if ws.index == nil {
		ws.index = map[string]*Warning{}
	}
	ws.index[w.Text] = &w
	ws.list = append(ws.list, &w)
}

// merge takes over the warnings of rows that come later.
func (ws *warnings) merge(later *warnings) {
	for _, w := range later.list {
		ws.put(*w)
	}
}

func (ws *warnings) all() []Warning {
	out := make([]Warning, len(ws.list))
	for i, w := range ws.list {
		out[i] = *w
	}
	slices.SortStableFunc(out, func(a, b Warning) int {
		if a.urgent != b.urgent {
			return map[bool]int{true: -1, false: 1}[a.urgent]
		}
		return a.Line - b.Line
	})
	return out
}

// FileError says that a file was refused. Nothing of it was sent or stored.
type FileError struct {
	Name     string
	Problems []Problem // the first 1,000 that differ, in line order
	Count    int       // of the rows that have one, each as often as it has one
	Warnings []Warning // what is odd besides
}

func (e *FileError) Error() string {
	n := payout.FormatNumber(e.Count) + " problems"
	if e.Count == 1 {
		n = "1 problem"
	}
	return fmt.Sprintf("%s: %s, nothing was sent", e.Name, n)
}

// Fixable reports whether Fix puts some of it right.
func (e *FileError) Fixable() bool {
	return slices.ContainsFunc(e.Problems, func(p Problem) bool { return p.fixable })
}
