package payfile

import (
	"bytes"
	"fmt"
)

// maxRecord is how long one record may be, in bytes. Real ones have some hundred; a
// longer one is a quote that was never closed.
const maxRecord = 256 << 10

// tooLong is the problem of a record that does not end.
func tooLong(line int) *Problem {
	return &Problem{Line: line, Text: fmt.Sprintf("this row is longer than %d KiB: a quote (\") may open here and never close", maxRecord>>10), structure: true, fatal: true}
}

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
