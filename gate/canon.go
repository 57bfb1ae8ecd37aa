// Package gate speaks the Gate protocol: it signs and sends payout requests,
// asks for their status, and reads callbacks. It classifies what comes back and
// remembers nothing; what an answer means for a payout is decided by payout.Next.
package gate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// ErrMalformed says that a body is not the JSON object that the Gate protocol
// speaks: broken, with a doubled name, too deep, with something behind it, or, in a
// callback, with more than 500 values, the signature not counted.
var ErrMalformed = errors.New("malformed JSON body")

// maxDepth bounds nesting; real bodies have four levels. maxNames bounds the names
// on the way to all values, each counted as often as it is before one: a small
// body could make them take hundreds of times its own size. Real ones have three
// times it, and few kilobytes.
const (
	maxDepth = 32
	maxNames = 64 << 10
)

// maxLeaves bounds the leaves of a callback; real ones have some forty. A body is
// sorted before its signature can be checked, and a forged one must cost little.
const maxLeaves = 500

// leaf is one value of a body with the way to it. Escaped, the way is the path
// of the canonical string: names joined by ":", a ":" inside a name doubled.
type leaf struct {
	path     string
	value    string
	segments []string
}

// document is a JSON object, flattened: the leaves in the order of the body,
// and the two places where a signature may be.
type document struct {
	leaves    []leaf
	signature string   // root, else general
	names     int      // bytes of names, see maxNames
	arena     []string // what the leaves' segments are cut from
}

// value is what is at a path, the last if several do; "" when there is none.
// Answers have few leaves: a map of them would cost more than it saves.
func (d *document) value(path string) string {
	for i := len(d.leaves) - 1; i >= 0; i-- {
		if d.leaves[i].path == path {
			return d.leaves[i].value
		}
	}
	return ""
}

// parseDocument reads one JSON object. Numbers keep their literal text, names
// must be unique in their object, and the text must be UTF-8. The signature is
// taken out, and frame_mode left out, as the platform's signers do.
func parseDocument(body string) (*document, error) { return parseLimited(body, math.MaxInt) }

// parseLimited does the same, and stops with ErrMalformed at the first leaf over
// the limit.
func parseLimited(body string, leaves int) (*document, error) {
	if !utf8.ValidString(body) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	d := &document{}
	p := parser{d: d, b: body, leaves: leaves}
	if err := p.document(); err != nil {
		return nil, err
	}
	return d, nil
}

// add takes a leaf, or the signature; the way to it is not kept. It takes no more
// names than maxNames.
func (d *document) add(at []string, value string) bool {
	switch {
	case at[len(at)-1] == "frame_mode":
		return true
	case len(at) == 1 && at[0] == "signature":
		d.signature = value
		return true
	case len(at) == 2 && at[0] == "general" && at[1] == "signature":
		if d.signature == "" {
			d.signature = value
		}
		return true
	}
	for _, name := range at {
		d.names += len(name) + 1
	}
	if d.names > maxNames {
		return false
	}
	if d.leaves == nil {
		d.leaves = make([]leaf, 0, 8)
	}
	if cap(d.arena)-len(d.arena) < len(at) {
		d.arena = make([]string, 0, max(16, len(at), 2*cap(d.arena)))
	}
	start := len(d.arena)
	d.arena = append(d.arena, at...)
	escaped := at
	if slices.ContainsFunc(at, func(s string) bool { return strings.Contains(s, ":") }) {
		escaped = make([]string, len(at))
		for i, s := range at {
			escaped[i] = strings.ReplaceAll(s, ":", "::")
		}
	}
	d.leaves = append(d.leaves, leaf{path: strings.Join(escaped, ":"), value: value, segments: d.arena[start:len(d.arena):len(d.arena)]})
	return true
}

// Canonical returns the string that is signed for a JSON body: every leaf as
// "path:value", in natural order of the paths, joined by ";".
// It fails with ErrMalformed and never reads past the one object.
//
// Source: the platform's documentation of signatures, and its public SDKs'
// test vectors, which are in testdata.
func Canonical(body []byte) (string, error) {
	d, err := parseDocument(string(body))
	if err != nil {
		return "", err
	}
	return d.canonical(byNaturalPath), nil
}

func (d *document) canonical(order func(a, b *leaf) int) string {
	return string(appendLines(nil, d.sorted(order)))
}

// sorted returns the leaves in an order; those that it holds to be equal stay in the
// order of the body.
func (d *document) sorted(order func(a, b *leaf) int) []*leaf {
	sorted := make([]*leaf, len(d.leaves))
	for i := range d.leaves {
		sorted[i] = &d.leaves[i]
	}
	slices.SortStableFunc(sorted, order)
	return sorted
}

// appendLines appends the canonical string of sorted leaves to b.
func appendLines(b []byte, sorted []*leaf) []byte {
	size := 0
	for _, l := range sorted {
		size += len(l.path) + len(l.value) + 2
	}
	b = slices.Grow(b, size)
	for i, l := range sorted {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, l.path...)
		b = append(b, ':')
		b = append(b, l.value...)
	}
	return b
}

// orders are the four known ways to sort the lines. The platform's SDKs agree
// on everything that real payouts contain, and not beyond, so a callback may
// match any of them.
var orders = [...]func(a, b *leaf) int{byNaturalPath, byPath, byLine, byLevel}

func byNaturalPath(a, b *leaf) int { return compareNatural(a.path, b.path) }

func byPath(a, b *leaf) int { return strings.Compare(a.path, b.path) }

// byLine compares "path:value". Lines are only made where the paths do not decide.
func byLine(a, b *leaf) int {
	n := min(len(a.path), len(b.path))
	if c := strings.Compare(a.path[:n], b.path[:n]); c != 0 {
		return c
	}
	switch {
	case len(a.path) == len(b.path):
		return strings.Compare(a.value, b.value)
	case len(a.path) > n && a.path[n] != ':':
		return int(a.path[n]) - ':'
	case len(b.path) > n && b.path[n] != ':':
		return ':' - int(b.path[n])
	}
	return strings.Compare(a.path+":"+a.value, b.path+":"+b.value)
}

func byLevel(a, b *leaf) int { return slices.Compare(a.segments, b.segments) }

// compareNatural compares byte by byte, but runs of digits as numbers.
func compareNatural(a, b string) int {
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	for same > 0 && isDigit(a[same-1]) {
		same-- // the run of digits may go on
	}
	a, b = a[same:], b[same:]
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			if c := strings.Compare(na, nb); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// digits is the length of the run of digits that s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
