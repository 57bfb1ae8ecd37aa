package payfile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/gocarina/gocsv"
)

// base are the cells that every row has, as gocsv finds them by the header: text, never
// converted on the way, so that leading zeros and amounts stay as they were written.
type base struct {
	Operation string `csv:"operation_type"`
	Project   string `csv:"general.project_id"`
	Method    string `csv:"method"`
	PaymentID string `csv:"general.payment_id"`
	Amount    string `csv:"payment.amount"`
	Currency  string `csv:"payment.currency"`
}

// row is one record of a file.
type row struct {
	base
	line  int      // on which it begins
	cells []string // all of them, by column
	bad   *Problem // why it cannot be read; then there is nothing else but its line
}

const emptyRow = "the row is empty: delete it"

// empty reports whether a row has no cell with anything in it.
func (r *row) empty() bool {
	return r.bad == nil && r.Operation == "" && emptyCells(r.cells)
}

func emptyCells(cells []string) bool {
	return !slices.ContainsFunc(cells, func(c string) bool { return c != "" })
}

// rows reads a piece's rows. Its error is a *Problem after which the file cannot be read
// any further.
func (h *header) rows(p piece) (iter.Seq[row], error) {
	if bad := notText(p); bad != nil {
		return nil, bad
	}
	d := decoder{header: h, piece: p}
	var found []base
	if err := gocsv.UnmarshalDecoder(&d, &found); err != nil {
		return nil, err
	}
	return func(yield func(row) bool) {
		next := 0
		for i, line := range d.lines {
			r := row{line: line, bad: d.bad[i]}
			if r.bad == nil {
				r.base, r.cells = found[next], d.rows[next]
				next++
			}
			if !yield(r) {
				return
			}
		}
	}, nil
}

// decoder hands a piece's records to gocsv, and remembers where they are.
type decoder struct {
	header *header
	piece  piece
	rows   [][]string // the records that can be read
	lines  []int      // of every record
	bad    map[int]*Problem
}

// mapped is how many columns gocsv has to look through: up to the last one of base.
func (h *header) mapped() (n int) {
	for i, c := range h.columns {
		if slices.Contains(baseColumns, c) {
			n = i + 1
		}
	}
	return n
}

// GetCSVRows is gocsv's.
func (d *decoder) GetCSVRows() ([][]string, error) {
	most := bytes.Count(d.piece.text, []byte{'\n'}) + 1
	mapped := d.header.mapped()
	records := append(make([][]string, 0, most+1), d.header.columns[:mapped])
	d.rows, d.lines = make([][]string, 0, most), make([]int, 0, most)
	d.bad = map[int]*Problem{}
	r := newReader(bytes.NewReader(d.piece.text), d.header.delimiter)
	r.FieldsPerRecord = len(d.header.columns)
	r.ReuseRecord = true
	arena := make([]string, 0, most*len(d.header.columns)) // the cells of all rows: one piece of memory
	for begin := int64(0); ; begin = r.InputOffset() {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if r.InputOffset()-begin > maxRecord {
			return nil, tooLong(d.piece.line + bytes.Count(d.piece.text[:begin], []byte{'\n'}))
		}
		if errors.Is(err, csv.ErrFieldCount) && emptyCells(cells) {
			cells, err = make([]string, len(d.header.columns)), nil // nothing but delimiters, however many
		}
		var parse *csv.ParseError
		switch {
		case errors.As(err, &parse):
			line := d.piece.line + parse.StartLine - 1
			text := csvText(err)
			if errors.Is(err, csv.ErrFieldCount) {
				text = fmt.Sprintf("the row has %d cells, the header has %d: look for a missing or an extra %q", len(cells), len(d.header.columns), d.header.delimiter)
			}
			d.bad[len(d.lines)] = &Problem{Line: line, Text: text, structure: true}
			d.lines = append(d.lines, line)
		case err != nil:
			return nil, err
		default:
			line, _ := r.FieldPos(0)
			d.lines = append(d.lines, d.piece.line+line-1)
			arena = append(arena, cells...)
			cells = arena[len(arena)-len(cells) : len(arena) : len(arena)]
			d.rows, records = append(d.rows, cells), append(records, cells[:mapped])
		}
	}
}
