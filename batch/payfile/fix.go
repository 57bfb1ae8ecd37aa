package payfile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"masspay/gate"
	"masspay/payout"
)

// Change is one thing that Fix has changed. It holds no personal value in the clear.
type Change struct {
	Line     int    // of the file as it was, 0: the file as a whole
	Column   string // "": the row, or the file
	From, To string // masked where they are personal; "": what Text says
	Text     string
}

func (c Change) String() string {
	var b strings.Builder
	if c.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", c.Line)
	}
	if c.Column == "" {
		return b.String() + c.Text
	}
	fmt.Fprintf(&b, "%s %q -> %q", c.Column, c.From, c.To)
	return b.String()
}

// Fix writes a file again as the format wants it, and repairs only what has exactly one
// reading: a byte order mark, a line for a spreadsheet, the delimiter, line ends, capitals
// and spaces of column names, spaces around cells, empty columns and rows at the end,
// punctuation of phone numbers. It never touches an amount, an id, a name or a free text.
// Whether the result can be paid, only a check tells. The error of a file that is no CSV
// is a *FileError; w may have a part of it by then.
func Fix(in *Input, w io.Writer, changed func(Change)) error {
	err := fix(in, w, changed)
	var p *Problem
	if errors.As(err, &p) {
		return &FileError{Name: in.Name, Problems: []Problem{*p}, Count: 1}
	}
	return err
}

func fix(in *Input, w io.Writer, changed func(Change)) error {
	used, err := in.usedColumns()
	if err != nil {
		return err
	}
	r, line, err := in.fixable(changed)
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	out.Comma = ';'
	f := fixer{changed: changed}
	empty := 0
	for n := 0; ; n++ {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err // the first reading had none: the file has changed
		}
		at, _ := r.FieldPos(0)
		at += line - 1
		cells = slices.Clone(cells)
		if n == 0 {
			f.header(at, cells)
			if used < len(cells) {
				changed(Change{Line: at, Text: fmt.Sprintf("left out: %d columns at the end, which have no name and nothing in them", len(cells)-used)})
			}
		} else if emptyCells(cells) {
			empty++ // perhaps nothing follows
			continue
		}
		for ; empty > 0; empty-- {
			if err := out.Write(make([]string, used)); err != nil {
				return err
			}
		}
		if n > 0 {
			f.row(at, cells)
		}
		if len(cells) > used && emptyCells(cells[used:]) {
			cells = cells[:used]
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	if empty > 0 {
		changed(Change{Text: fmt.Sprintf("left out at the end: rows with nothing in them (%s)", payout.FormatNumber(empty))})
	}
	out.Flush()
	return out.Error()
}

// fixable begins to read the file at its header, which is on a line.
func (in *Input) fixable(changed func(Change)) (r *csv.Reader, line int, err error) {
	if _, err := in.f.Seek(0, io.SeekStart); err != nil {
		return nil, 0, err
	}
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(in.f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, 0, err
	}
	head = head[:n]
	if is := notCSV(head[:min(n, 4096)]); is != "" {
		return nil, 0, &Problem{Text: is, structure: true, fatal: true}
	}
	head, hadMark := bytes.CutPrefix(head, bom)
	if hadMark {
		changed(Change{Line: 1, Text: "left out: the byte order mark"})
	}
	line = 1
	first, rest, _ := bytes.Cut(head, []byte{'\n'})
	if sepLine(first) != 0 {
		changed(Change{Line: 1, Text: fmt.Sprintf("left out: %s, a line for a spreadsheet", strings.TrimSpace(string(first)))})
		head, line = rest, 2
		first, _, _ = bytes.Cut(head, []byte{'\n'})
	}
	delimiter := sniff(string(first))
	if delimiter != ';' {
		changed(Change{Line: line, Text: fmt.Sprintf("columns are divided by ';' instead of %q", delimiter)})
	}
	if bytes.HasSuffix(first, []byte{'\r'}) {
		changed(Change{Text: "lines end with a line feed alone"})
	}
	r = newReader(io.MultiReader(bytes.NewReader(head), in.f), delimiter)
	r.FieldsPerRecord = -1
	return r, line, nil
}

// usedColumns is up to which column the file has names, or anything else in a row. It reads
// all of it, and refuses what is no text in UTF-8: in another encoding a name may be another one.
func (in *Input) usedColumns() (used int, err error) {
	r, line, err := in.fixable(func(Change) {})
	if err != nil {
		return 0, err
	}
	r.ReuseRecord = true
	columns := -1
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return used, nil
		}
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			return 0, &Problem{Line: line + parse.StartLine - 1, Text: csvText(err), structure: true, fatal: true}
		}
		if err != nil {
			return 0, err
		}
		if bad := slices.IndexFunc(cells, func(c string) bool { return !utf8.ValidString(c) }); bad >= 0 {
			at, _ := r.FieldPos(bad)
			return 0, &Problem{Line: line + at - 1, Text: wrongEncoding([]byte(strings.Join(cells, ";"))), structure: true, fatal: true}
		}
		if columns < 0 {
			columns = len(cells)
		}
		for i := len(cells); i > used && i <= columns; i-- {
			if strings.TrimSpace(cells[i-1]) != "" {
				used = i
			}
		}
	}
}

// fixer repairs cells.
type fixer struct {
	columns []string
	changed func(Change)
}

func (f *fixer) header(line int, names []string) {
	for i, name := range names {
		if plain := plainName(name); plain != name && knownName(plain) {
			f.changed(Change{Line: line, Column: plain, From: name, To: plain})
			names[i] = plain
		}
	}
	f.columns = slices.Clone(names)
}

// row repairs the cells of a row.
func (f *fixer) row(line int, cells []string) {
	method := ""
	if i := slices.Index(f.columns, gate.ColMethod); i >= 0 && i < len(cells) {
		method = strings.TrimSpace(cells[i])
	}
	for i, column := range f.columns[:min(len(f.columns), len(cells))] {
		is := cells[i]
		var to string
		switch kind := kindOf(column); {
		case is == "" || kind == names || kind == texts || untouched(column):
			continue
		case phoneColumn(column), column == gate.ColAccount && method == "sbp-p2p":
			to = phoneDigits(is)
		default:
			to = strings.TrimSpace(is)
		}
		if to == is {
			continue
		}
		cells[i] = to
		shown := Change{Line: line, Column: column, From: is, To: to}
		if mayBePersonal(column, is) {
			shown.From, shown.To = payout.Mask(is), payout.Mask(to)
		}
		f.changed(shown)
	}
}

// untouched are columns in which even a space may be meant.
func untouched(column string) bool {
	return column == gate.ColAmount || column == gate.ColPaymentID || strings.HasSuffix(column, ".id") || strings.HasSuffix(column, "_id") && column != gate.ColProject
}

// writtenPhone is a phone number as people write it: groups of digits with one space or
// hyphen between, and at most one of them in brackets, which is no 0 that is left out abroad.
var writtenPhone = regexp.MustCompile(`^\+?[0-9]{1,4}(?:[ \x{a0}-]?\([1-9][0-9]{1,4}\))?(?:[ \x{a0}-]?[0-9]{2,})*$`)

// phoneDigits is a phone number without what people write between its digits; what may be
// anything else stays as it is.
func phoneDigits(v string) string {
	written := strings.TrimPrefix(strings.TrimSpace(v), "'")
	if !writtenPhone.MatchString(written) || date.MatchString(written) {
		return v
	}
	plain := strings.Map(func(c rune) rune {
		if c < '0' || c > '9' {
			return -1
		}
		return c
	}, written)
	const least, most, kyrgyz = 9, 15, 12
	if len(plain) < least || len(plain) > most || strings.HasPrefix(plain, "996") && len(plain) != kyrgyz {
		return v
	}
	return plain
}
