package payfile

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"
)

// delimiters are what a header may be divided by; the first is the format's own.
const delimiters = ";,|\t"

// sniff picks the delimiter that makes the most known columns of the header.
func sniff(line string) rune {
	best, most := ';', -1
	for _, d := range delimiters {
		known := 0
		for name := range strings.SplitSeq(line, string(d)) {
			if knownName(plainName(strings.Trim(strings.TrimSpace(name), `"`))) {
				known++
			}
		}
		if known > most {
			best, most = d, known
		}
	}
	return best
}

func newReader(r io.Reader, delimiter rune) *csv.Reader {
	c := csv.NewReader(r)
	c.Comma = delimiter
	return c
}

func csvText(err error) string {
	switch {
	case errors.Is(err, csv.ErrQuote):
		return "a quote (\") opens here and does not close where the cell ends"
	case errors.Is(err, csv.ErrBareQuote):
		return "a quote (\") is inside a cell that is not quoted: double it and quote the cell, or remove it"
	case errors.Is(err, io.EOF):
		return "the file is empty"
	}
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return parse.Err.Error()
	}
	return err.Error()
}
