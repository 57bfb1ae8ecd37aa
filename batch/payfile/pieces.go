package payfile

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"iter"
	"unicode/utf8"
)

// piece is a part of a file that begins and ends with a record.
type piece struct {
	line int // on which it begins
	text []byte
}

// pieceSize is how many bytes of whole records are worked on at once; the last record
// may reach beyond.
const pieceSize = 512 << 10

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
	if p := misplaced(c.rest); p != nil {
		return nil, p
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
