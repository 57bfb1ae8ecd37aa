package result

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// cellHash is a digest of cells in order, with their borders.
type cellHash struct {
	h   hash.Hash
	buf []byte
}

func newCellHash() *cellHash { return &cellHash{h: sha256.New()} }

func (c *cellHash) row(cells []string) {
	c.buf = c.buf[:0]
	for _, s := range cells {
		if strings.IndexByte(s, '\r') >= 0 {
			s = strings.ReplaceAll(s, "\r\n", "\n") // as every CSV reader does inside quotes
		}
		c.buf = binary.AppendUvarint(c.buf, uint64(len(s)))
		c.buf = append(c.buf, s...)
	}
	c.h.Write(c.buf)
}

// ErrMismatch says that a written result is not like what was loaded. The file
// was thrown away; the store is as it was.
var ErrMismatch = errors.New("the written result does not match what was loaded")

// reading is what a result was found to hold when it was read back.
type reading struct {
	rows  int
	sums  map[string]int64
	cells []byte // digest
}

// readBack reads a result.
func readBack(f io.Reader, b store.Batch) (got reading, err error) {
	text := bufio.NewReaderSize(f, 256<<10)
	if mark, err := text.Peek(len(byteOrderMark)); b.BOM && err == nil && string(mark) == byteOrderMark {
		_, _ = text.Discard(len(byteOrderMark)) // it was just seen
	}
	r := csv.NewReader(text)
	r.Comma = []rune(b.Delimiter)[0]
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return got, fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	amount, currency, state := slices.Index(header, gate.ColAmount), slices.Index(header, gate.ColCurrency), len(b.Columns)
	cells := newCellHash()
	got.sums = map[string]int64{}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			got.cells = cells.h.Sum(nil)
			return got, nil
		}
		if err != nil {
			return got, fmt.Errorf("%w: %w", ErrMismatch, err)
		}
		got.rows++
		cells.row(record[:len(b.Columns)])
		if record[state] == StateSkipped {
			continue
		}
		minor, err := payout.ParseMinor(record[amount])
		if err != nil {
			return got, fmt.Errorf("%w: row %d: %w", ErrMismatch, got.rows, err)
		}
		sum, known := got.sums[record[currency]]
		if !known {
			got.sums[strings.Clone(record[currency])] = minor
			continue
		}
		got.sums[record[currency]] = sum + minor
	}
}

// compare holds what was read back against the batch: the rows, their cells in
// order, and the sums by currency. A selection is held against what was written.
func (got reading) compare(b store.Batch, r Report, sum Summary, cells []byte) error {
	rows, loaded := b.Rows, map[string]int64{}
	for _, a := range b.Totals {
		loaded[a.Currency] = a.Minor
	}
	if r.Selects() {
		rows, loaded = sum.Rows, map[string]int64{}
		for _, s := range sum.ByState {
			for currency, p := range s.Money {
				loaded[currency] += p.Minor
			}
		}
	}
	switch {
	case got.rows != rows:
		return fmt.Errorf("%w: %d rows, want %d", ErrMismatch, got.rows, rows)
	case !maps.Equal(got.sums, loaded):
		return fmt.Errorf("%w: other sums", ErrMismatch)
	case !bytes.Equal(got.cells, cells):
		return fmt.Errorf("%w: other cells", ErrMismatch)
	}
	return nil
}
