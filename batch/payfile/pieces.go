package payfile

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"masspay/gate"
)

// piece is a part of a file that begins and ends with a record.
type piece struct {
	line int // on which it begins
	text []byte
}

// pieceSize is how many bytes of whole records are worked on at once; the last record
// may reach beyond.
const pieceSize = 256 << 10

// maxRecord is how long one record may be, in bytes. Real ones have some hundred; a
// longer one is a quote that was never closed.
const maxRecord = 256 << 10

// tooLong is the problem of a record that does not end.
func tooLong(line int) *Problem {
	return &Problem{Line: line, Text: fmt.Sprintf("this row is longer than %d KiB: a quote (\") may open here and never close", maxRecord>>10), structure: true, fatal: true}
}

// header is what the first record of a file says about the others.
type header struct {
	columns   []string
	delimiter rune
	bom       bool // the file begins with a byte order mark
}

// cutter reads a file once: its header, then the pieces behind it. It hashes what it
// reads.
type cutter struct {
	header
	file  io.Reader
	size  int // of a piece
	hash  hash.Hash
	line  int    // of the next byte
	rest  []byte // read, and not yet handed on
	ended bool   // nothing is behind rest
}

// cut begins to read a file: its header. The error is a *Problem or the disk's.
func (in *Input) cut() (*cutter, error) {
	if _, err := in.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	c := &cutter{file: in.f, size: cmp.Or(in.pieceSize, pieceSize), hash: sha256.New(), line: 1}
	if err := c.read(); err != nil {
		return nil, err
	}
	if text := notCSV(c.rest[:min(len(c.rest), 4096)]); text != "" {
		return nil, &Problem{Text: text, structure: true, fatal: true}
	}
	c.rest, c.bom = bytes.CutPrefix(c.rest, bom)
	first, _, _ := bytes.Cut(c.rest, []byte{'\n'})
	switch {
	case !utf8.Valid(first):
		return nil, &Problem{Line: 1, Text: wrongEncoding(c.rest), structure: true}
	case bytes.Count(first, []byte{'\r'}) > 1:
		return nil, &Problem{Line: 1, Text: "lines end with a lone carriage return (old Mac format): save the file as \"CSV UTF-8\"", structure: true}
	}
	c.delimiter = sniff(string(first))
	columns, err := newReader(bytes.NewReader(c.rest), c.delimiter).Read()
	if err != nil {
		return nil, &Problem{Line: 1, Text: "the header cannot be read as CSV: " + csvText(err), structure: true}
	}
	c.columns = columns
	c.skipRecord()
	return c, nil
}

// skipRecord goes behind the first record that is not an empty line.
func (c *cutter) skipRecord() {
	for empty := true; empty; {
		end := recordEnd(c.rest, byte(c.delimiter))
		if end == 0 {
			end = len(c.rest)
		}
		empty = end > 0 && len(bytes.TrimRight(c.rest[:end], "\r\n")) == 0
		c.take(end)
	}
}

// take hands on the next bytes.
func (c *cutter) take(n int) piece {
	p := piece{line: c.line, text: c.rest[:n:n]}
	c.rest = c.rest[n:]
	c.line += bytes.Count(p.text, []byte{'\n'})
	return p
}

// read adds bytes to the rest, into memory of their own: pieces keep theirs.
func (c *cutter) read() error {
	buf := make([]byte, len(c.rest)+c.size)
	old := copy(buf, c.rest)
	n, err := io.ReadFull(c.file, buf[old:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		c.ended, err = true, nil
	}
	c.hash.Write(buf[old : old+n])
	c.rest = buf[:old+n]
	return err
}

// pieces yields what is behind the header, in order. Its errors are a *Problem, the
// disk's and the context's, and end it.
func (c *cutter) pieces(ctx context.Context) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		for {
			end := len(c.rest)
			if !c.ended {
				end = recordsEnd(c.rest, byte(c.delimiter))
			}
			if end > 0 && !yield(c.take(end), nil) {
				return
			}
			err := ctx.Err()
			switch {
			case err == nil && c.ended:
				return
			case err == nil && len(c.rest) > maxRecord:
				err = tooLong(c.line)
			case err == nil:
				err = c.read()
			}
			if err != nil {
				yield(piece{}, err)
				return
			}
		}
	}
}

// sum is the file's SHA-256, once all its pieces were taken.
func (c *cutter) sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// recordsEnd is where the last whole record ends, 0 if there is none.
func recordsEnd(b []byte, delimiter byte) (end int) {
	if bytes.IndexByte(b, '"') < 0 {
		return bytes.LastIndexByte(b, '\n') + 1
	}
	for {
		n := recordEnd(b[end:], delimiter)
		if n == 0 {
			return end
		}
		end += n
	}
}

// recordEnd is where the record ends that b begins with, 0 if it does not. It finds the
// ends that encoding/csv finds: of a record that cannot be read, the end of the line on
// which that was seen.
func recordEnd(b []byte, delimiter byte) int {
	for at := 0; ; {
		if at < len(b) && b[at] == '"' {
			n, more := quotedEnd(b[at:], delimiter)
			if !more || n == 0 {
				return endAt(at, n)
			}
			at += n
			continue
		}
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return 0
		}
		line := b[at : at+n]
		quote := bytes.IndexByte(line, '"')
		cell := bytes.IndexByte(line, delimiter)
		if quote < 0 || cell < 0 || quote < cell {
			return at + n + 1 // no cell of it is quoted, or the record cannot be read
		}
		at += cell + 1
	}
}

func endAt(at, n int) int {
	if n == 0 {
		return 0
	}
	return at + n
}

// quotedEnd is where a quoted cell ends, with the delimiter or the end of line behind it;
// more says that another cell follows. 0: it does not end.
func quotedEnd(b []byte, delimiter byte) (n int, more bool) {
	for n = 1; ; {
		quote := bytes.IndexByte(b[n:], '"')
		if quote < 0 || n+quote+1 == len(b) {
			return 0, false
		}
		n += quote + 1
		switch b[n] {
		case '"':
			n++
		case delimiter:
			return n + 1, true
		default: // the end of the line, or what must not be there
			end := bytes.IndexByte(b[n:], '\n')
			if end < 0 {
				return 0, false
			}
			return n + end + 1, false
		}
	}
}

// delimiters are what a header may be divided by; the first is the format's own.
const delimiters = ";,|\t"

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
