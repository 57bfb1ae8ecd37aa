package gate

import (
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// parser flattens a JSON object while it reads it: no tree is made, and no
// number ever becomes one. It takes what RFC 8259 takes and encoding/json takes
// with it, but for names that appear twice.
type parser struct {
	d      *document
	b      string
	at     int
	path   []string
	leaves int // at most
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrMalformed, what, p.at)
}

// space passes white space and returns what follows, 0 at the end.
func (p *parser) space() byte {
	for p.at < len(p.b) {
		switch c := p.b[p.at]; c {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return c
		}
	}
	return 0
}

// document reads one object and nothing behind it.
func (p *parser) document() error {
	if p.space() != '{' {
		return p.fail("not an object")
	}
	if err := p.object(); err != nil {
		return err
	}
	if p.space(); p.at < len(p.b) {
		return p.fail("more than one value")
	}
	return nil
}

func (p *parser) object() error {
	if len(p.path) >= maxDepth {
		return p.fail("nested too deep")
	}
	p.at++ // {
	if p.space() == '}' {
		p.at++
		return nil
	}
	var few [16]string
	names := few[:0]
	var many map[string]bool
	for {
		if p.space() != '"' {
			return p.fail("a name is missing")
		}
		name, err := p.string()
		if err != nil {
			return err
		}
		if many == nil && slices.Contains(names, name) || many[name] {
			return fmt.Errorf("%w: duplicate name %q", ErrMalformed, name)
		}
		switch {
		case many != nil:
			many[name] = true
		case len(names) < cap(names):
			names = append(names, name)
		default:
			many = map[string]bool{name: true}
			for _, n := range names {
				many[n] = true
			}
		}
		if p.space() != ':' {
			return p.fail("a colon is missing")
		}
		p.at++
		if err := p.value(name); err != nil {
			return err
		}
		if more, err := p.next('}'); err != nil || !more {
			return err
		}
	}
}

func (p *parser) array() error {
	if len(p.path) >= maxDepth {
		return p.fail("nested too deep")
	}
	p.at++ // [
	if p.space() == ']' {
		p.at++
		return nil
	}
	for i := 0; ; i++ {
		if err := p.value(strconv.Itoa(i)); err != nil {
			return err
		}
		if more, err := p.next(']'); err != nil || !more {
			return err
		}
	}
}

// next passes a comma, or the end.
func (p *parser) next(end byte) (more bool, err error) {
	c := p.space()
	p.at++
	if c != ',' && c != end {
		p.at--
		return false, p.fail("a comma is missing")
	}
	return c == ',', nil
}

// value reads what is under a name.
func (p *parser) value(name string) error {
	p.path = append(p.path, name)
	err := p.leaf()
	p.path = p.path[:len(p.path)-1]
	return err
}

func (p *parser) leaf() error {
	switch c := p.space(); {
	case c == '{':
		return p.object()
	case c == '[':
		return p.array()
	case c == '"':
		s, err := p.string()
		if err != nil {
			return err
		}
		return p.add(s)
	case c == '-' || c >= '0' && c <= '9':
		start := p.at
		if !p.number() {
			return p.fail("a number is not one")
		}
		return p.add(p.b[start:p.at])
	}
	for _, word := range [...]struct{ json, canonical string }{{"true", "1"}, {"false", "0"}, {"null", ""}} {
		if len(p.b)-p.at >= len(word.json) && p.b[p.at:p.at+len(word.json)] == word.json {
			p.at += len(word.json)
			return p.add(word.canonical)
		}
	}
	return p.fail("a value is missing")
}

func (p *parser) add(value string) error {
	if !p.d.add(p.path, value) {
		return p.fail("too many names")
	}
	if len(p.d.leaves) > p.leaves {
		return p.fail("too many values")
	}
	return nil
}

// number passes -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (p *parser) number() bool {
	digits := func() bool {
		start := p.at
		for p.at < len(p.b) && p.b[p.at] >= '0' && p.b[p.at] <= '9' {
			p.at++
		}
		return p.at > start
	}
	one := func(of string) bool {
		for i := range len(of) {
			if p.at < len(p.b) && p.b[p.at] == of[i] {
				p.at++
				return true
			}
		}
		return false
	}
	one("-")
	if !one("0") && !digits() {
		return false
	}
	if one(".") && !digits() {
		return false
	}
	if one("eE") {
		one("+-")
		return digits()
	}
	return true
}

// string reads a string; the body was found to be UTF-8.
func (p *parser) string() (string, error) {
	p.at++ // "
	start := p.at
	for p.at < len(p.b) {
		switch c := p.b[p.at]; {
		case c == '"':
			p.at++
			return p.b[start : p.at-1], nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", p.fail("a control character in a string")
		}
		p.at++
	}
	return "", p.fail("a string does not end")
}

// escaped reads a string with escapes, of which the part up to here is plain.
func (p *parser) escaped(start int) (string, error) {
	s := append(make([]byte, 0, 64), p.b[start:p.at]...)
	for p.at < len(p.b) {
		c := p.b[p.at]
		p.at++
		switch {
		case c == '"':
			return string(s), nil
		case c < ' ':
			return "", p.fail("a control character in a string")
		case c != '\\':
			s = append(s, c)
			continue
		}
		if p.at >= len(p.b) {
			break
		}
		c = p.b[p.at]
		p.at++
		switch c {
		case '"', '\\', '/':
			s = append(s, c)
		case 'b':
			s = append(s, '\b')
		case 'f':
			s = append(s, '\f')
		case 'n':
			s = append(s, '\n')
		case 'r':
			s = append(s, '\r')
		case 't':
			s = append(s, '\t')
		case 'u':
			r, ok := p.hex()
			if !ok {
				return "", p.fail("an escape is not one")
			}
			s = utf8.AppendRune(s, r)
		default:
			return "", p.fail("an escape is not one")
		}
	}
	return "", p.fail("a string does not end")
}

// hex reads the four digits behind \u, and those of a second half where the first
// is one of two. A half that is alone becomes U+FFFD.
func (p *parser) hex() (rune, bool) {
	r, ok := p.four()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	if len(p.b)-p.at >= 6 && p.b[p.at] == '\\' && p.b[p.at+1] == 'u' {
		before := p.at
		p.at += 2
		second, ok := p.four()
		if !ok {
			return 0, false
		}
		if both := utf16.DecodeRune(r, second); both != utf8.RuneError {
			return both, true
		}
		p.at = before
	}
	return utf8.RuneError, true
}

func (p *parser) four() (rune, bool) {
	if len(p.b)-p.at < 4 {
		return 0, false
	}
	r := rune(0)
	for range 4 {
		c := p.b[p.at]
		p.at++
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
