package demo

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
)

// pick returns some columns of the first lines of a result, aligned for people.
func pick(r io.Reader, n int, columns []string) ([]string, error) {
	c := csv.NewReader(r)
	c.Comma = ';'
	header, err := c.Read()
	if err != nil {
		return nil, err
	}
	rows := [][]string{columns}
	for len(rows) < n {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		row := make([]string, len(columns))
		for i, name := range columns {
			if j := slices.Index(header, name); j >= 0 {
				row[i] = record[j]
			}
		}
		rows = append(rows, row)
	}
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	lines := make([]string, len(rows))
	for k, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
		}
		lines[k] = strings.TrimRight(b.String(), " ")
	}
	return lines, nil
}
