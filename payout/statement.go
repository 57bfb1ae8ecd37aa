package payout

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Role is what somebody says of a file with a signature.
type Role string

// The roles.
const (
	Releases Role = "release" // it may be paid
	Prepares Role = "prepare" // it was made by this person
)

// Namespace is what a signature of the role is made for; one for another namespace is none.
func (r Role) Namespace() string { return "masspay-" + string(r) }

// Content is what a file is, and what will be sent of it: what a statement is bound to.
type Content struct {
	File    [32]byte // SHA-256 of the file's bytes
	Sent    [32]byte // SHA-256 over the digests of the requests, in the file's order
	Rows    int      // that are not left out
	LeftOut int
	Lines   [32]byte // SHA-256 over the numbers of the lines that are left out, one a line
	Totals  []Amount // one for each currency
}

// Statement is what a person signs about a file. Its text has one form only.
type Statement struct {
	Role Role
	Content
	Person string // as the list of signers names them
	At     time.Time
}

// ErrStatement is what ParseStatement wraps.
var ErrStatement = errors.New("not a statement of masspay")

// Text is the statement as it is signed: a line for each thing, in this order, with line
// feeds.
func (s *Statement) Text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "masspay %s 1\nsha256 %x\ncontent %x\nrows %d\n", s.Role, s.File, s.Sent, s.Rows)
	if s.LeftOut == 0 {
		b.WriteString("left-out 0\n")
	} else {
		fmt.Fprintf(&b, "left-out %d %x\n", s.LeftOut, s.Lines)
	}
	totals := slices.Clone(s.Totals)
	slices.SortFunc(totals, func(a, b Amount) int { return cmp.Compare(a.Currency, b.Currency) })
	for _, a := range totals {
		fmt.Fprintf(&b, "total %s %s\n", strings.TrimSuffix(a.Total(), a.Currency), a.Currency)
	}
	fmt.Fprintf(&b, "person %s\nat %s\n", s.Person, s.At.UTC().Format(time.RFC3339))
	return b.Bytes()
}

// maxStatement is how long a statement may be, in bytes.
const maxStatement = 8 << 10

// ParseStatement reads a statement. What is not exactly the text that Text makes of it is
// none: everything in it counts.
func ParseStatement(text []byte) (*Statement, error) {
	s := &Statement{}
	if len(text) > maxStatement {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrStatement, maxStatement)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		word, value, _ := strings.Cut(line, " ")
		var err error
		switch {
		case i == 0:
			role, version, _ := strings.Cut(value, " ")
			s.Role = Role(role)
			if word != "masspay" || version != "1" || s.Role != Releases && s.Role != Prepares {
				err = errors.New("the first line")
			}
		case word == "sha256":
			err = digestOf(value, &s.File)
		case word == "content":
			err = digestOf(value, &s.Sent)
		case word == "rows":
			s.Rows, err = strconv.Atoi(value)
		case word == "left-out":
			n, lines, some := strings.Cut(value, " ")
			if s.LeftOut, err = strconv.Atoi(n); err == nil && some {
				err = digestOf(lines, &s.Lines)
			}
		case word == "total":
			var a Amount
			a, err = ParseTotal(value)
			s.Totals = append(s.Totals, a)
		case word == "person":
			s.Person = value
		case word == "at":
			s.At, err = time.Parse(time.RFC3339, value)
		default:
			err = errors.New("an unknown line")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrStatement, i+1, err)
		}
	}
	if !bytes.Equal(s.Text(), text) {
		return nil, fmt.Errorf("%w: its lines are not in the one form and order that it has", ErrStatement)
	}
	return s, nil
}

func digestOf(text string, to *[32]byte) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(to) {
		return errors.New("want 64 hexadecimal digits")
	}
	copy(to[:], b)
	return nil
}

// About reports whether a statement is about a content, and nothing else.
func (s *Statement) About(c Content) bool {
	other := Statement{Role: s.Role, Content: c, Person: s.Person, At: s.At}
	return bytes.Equal(s.Text(), other.Text())
}
