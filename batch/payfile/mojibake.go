package payfile

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// misread are the encodings that UTF-8 is mistaken for.
var misread = []struct {
	name string
	*charmap.Charmap
}{{"windows-1251", charmap.Windows1251}, {"windows-1252", charmap.Windows1252}, {"windows-1254", charmap.Windows1254}, {"Latin-1", charmap.ISO8859_1}}

// doubled says as what a text was read that was UTF-8 already, "" where it was not: the
// bytes that it has in another encoding are UTF-8 of Latin or Cyrillic letters. Of short
// words that may be an accident.
func doubled(v string) string {
	if utf8.RuneCountInString(v) < 4 {
		return ""
	}
	for _, e := range misread {
		if b, ok := bytesIn(e.Charmap, v); ok && lettersOf(b) {
			return e.name
		}
	}
	return ""
}

// bytesIn are the bytes of a text in another encoding. What that has no character for was
// the byte itself.
func bytesIn(e *charmap.Charmap, v string) (b []byte, ok bool) {
	for _, c := range v {
		is, ok := e.EncodeRune(c)
		switch {
		case ok:
		case c >= 0x80 && c < 0xa0:
			is = byte(c)
		default:
			return nil, false
		}
		b = append(b, is)
	}
	return b, true
}

// lettersOf reports whether bytes are UTF-8 with letters beyond ASCII, and nothing beyond
// it but letters, spaces, dashes and quotes.
func lettersOf(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	beyond := 0
	for _, c := range string(b) {
		switch {
		case c < utf8.RuneSelf:
		case unicode.In(c, unicode.Latin, unicode.Cyrillic):
			beyond++
		case !unicode.In(c, unicode.Zs, unicode.Pd, unicode.Pi, unicode.Pf):
			return false
		}
	}
	return beyond > 0
}
