package payfile

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// spaced reports whether a value has white space at one of its ends.
func spaced(v string) bool {
	plain := func(c byte) bool { return c > ' ' && c < utf8.RuneSelf }
	if v == "" || plain(v[0]) && plain(v[len(v)-1]) {
		return false
	}
	return strings.TrimSpace(v) != v
}

// unsafe finds what must not go into a signed request: ";" and control
// characters can make two different bodies sign alike.
func unsafe(v string) string {
	if printable(v) {
		return ""
	}
	for _, c := range v {
		switch {
		case c == ';':
			return "a semicolon cannot be sent safely (it divides the fields of the signature): replace it"
		case c == '\n' || c == '\r' || c == '\u2028' || c == '\u2029' || c == '\u0085':
			return "a line break inside the value: remove it, or look for a quote (\") that was never closed"
		case unicode.IsControl(c):
			return "a control character inside the value: remove it"
		case c == '\ufeff' || c == '\u200b' || c == '\u200e' || c == '\u200f' || c == '\u2060' || c >= '\u202a' && c <= '\u202e':
			return "an invisible character inside the value: type it again"
		case c == unicode.ReplacementChar:
			return "a damaged character (\ufffd): type the value again"
		}
	}
	return ""
}

// printable reports whether a value is of printable ASCII without a semicolon,
// as most are.
func printable(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == ';' {
			return false
		}
	}
	return true
}

func allDigits(v string) bool {
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
	}
	return v != ""
}

var scientific = regexp.MustCompile(`^[0-9]+([.,][0-9]+)?[eE]\+?[0-9]+$|^[0-9]+[.,]0$`)

// scientificNotation recognizes what a spreadsheet makes of a long number: 9.967E+11 and 996555123456.0.
func scientificNotation(v string) bool {
	return scientific.MatchString(v)
}
