package batch

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/gocarina/gocsv"

	"masspay/gate"
)

// This file is the only one that knows gocsv's reading side. gocsv fills a
// struct that is made from the header, string fields only: nothing is ever
// converted on the way, so leading zeros and amounts stay as they stand.

// delimiters are what a header may be divided by; the first is the format's own.
const delimiters = ";,|\t"

// table is an open file whose header has been read.
type table struct {
	text      *text
	columns   []string
	delimiter rune
	reader    *csv.Reader
	rows      *gocsv.Unmarshaller
	lastLine  int // on which the last record ended
}

// row is one record: its cells by column, and the line that it begins on.
type row struct {
	line  int
	cells []string
}

// openTable reads the header. Its error is a *Problem or the disk's.
func openTable(in *Input) (*table, error) {
	t, err := in.text()
	if err != nil {
		return nil, err
	}
	head, err := t.r.Peek(t.r.Size())
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	line, _, _ := strings.Cut(string(head), "\n")
	if !utf8.ValidString(line) {
		return nil, &Problem{Line: 1, Text: t.encoding(nil), structure: true}
	}
	delimiter := sniff(line)
	columns, err := readHeader(head, delimiter)
	if err != nil {
		return nil, err
	}
	tb := &table{text: t, columns: columns, delimiter: delimiter}
	tb.reader = newReader(t, delimiter)
	tb.reader.FieldsPerRecord = len(columns)
	return tb, nil
}

func newReader(r io.Reader, delimiter rune) *csv.Reader {
	c := csv.NewReader(r)
	c.Comma = delimiter
	return c
}

// sniff picks the delimiter that makes the most known columns of the header.
func sniff(line string) rune {
	best, most := ';', -1
	for _, d := range delimiters {
		known := 0
		for name := range strings.SplitSeq(line, string(d)) {
			name = strings.Trim(strings.TrimSpace(name), `"`)
			if name == gate.ColOperation || name == gate.ColMethod || gate.KnownColumn(name) {
				known++
			}
		}
		if known > most {
			best, most = d, known
		}
	}
	return best
}

func readHeader(head []byte, delimiter rune) ([]string, error) {
	line, _, _ := strings.Cut(string(head), "\n")
	if strings.Count(line, "\r") > 1 {
		return nil, &Problem{Line: 1, Text: "lines end with a lone carriage return (old Mac format): save the file as \"CSV UTF-8\"", structure: true}
	}
	columns, err := newReader(strings.NewReader(string(head)), delimiter).Read()
	if err != nil {
		return nil, &Problem{Line: 1, Text: "the header cannot be read as CSV: " + csvText(err), structure: true}
	}
	return columns, nil
}

// open prepares for the rows. The columns must have been checked: gocsv would
// silently take the last of two columns of one name.
func (t *table) open() error {
	fields := make([]reflect.StructField, len(t.columns))
	for i, name := range t.columns {
		fields[i] = reflect.StructField{
			Name: fmt.Sprintf("C%d", i),
			Type: reflect.TypeFor[string](),
			Tag:  reflect.StructTag(fmt.Sprintf("csv:%q", name)),
		}
	}
	rows, err := gocsv.NewUnmarshaller(t.reader, reflect.New(reflect.StructOf(fields)).Elem().Interface())
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	t.rows, t.lastLine = rows, 1
	return nil
}

// next returns the next row, a *Problem of one row after which reading goes on,
// or another error that ends it; io.EOF at the end.
func (t *table) next() (row, error) {
	t.text.recordAt = t.reader.InputOffset()
	t.text.recordTop = t.lastLine + 1
	v, err := t.rows.Read()
	if err != nil {
		return row{}, t.rowError(err)
	}
	line, _ := t.reader.FieldPos(0)
	value := reflect.ValueOf(v)
	cells := make([]string, value.NumField())
	for i := range cells {
		cells[i] = value.Field(i).String()
	}
	last, _ := t.reader.FieldPos(len(cells) - 1)
	t.lastLine = last + strings.Count(cells[len(cells)-1], "\n")
	return row{line: line, cells: cells}, nil
}

func (t *table) rowError(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return err // io.EOF, a *Problem of the text, or the disk's
	}
	t.lastLine = parse.Line
	p := &Problem{Line: parse.StartLine, Text: csvText(err), structure: true}
	if errors.Is(err, csv.ErrFieldCount) {
		p.Text = fmt.Sprintf("the row has %d cells, the header has %d: look for a missing or an extra %q", t.cellCount(), len(t.columns), t.delimiter)
	}
	return p
}

// cellCount is how many cells the last record had. The csv package tells no
// other way than by where its fields are.
func (t *table) cellCount() (n int) {
	defer func() { _ = recover() }()
	for n = 0; ; n++ {
		t.reader.FieldPos(n)
	}
}

func csvText(err error) string {
	switch {
	case errors.Is(err, csv.ErrQuote):
		return "a quote (\") opens here and does not close where the cell ends"
	case errors.Is(err, csv.ErrBareQuote):
		return "a quote (\") stands inside a cell that is not quoted: double it and quote the cell, or remove it"
	case errors.Is(err, io.EOF):
		return "the file is empty"
	}
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return parse.Err.Error()
	}
	return err.Error()
}
