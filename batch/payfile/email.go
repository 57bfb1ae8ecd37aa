package payfile

import (
	"net/mail"
	"strings"
)

func slowEmail(v string) string {
	if a, err := mail.ParseAddress(v); err != nil || a.Address != v || !strings.Contains(v[strings.LastIndexByte(v, '@')+1:], ".") {
		return "not an e-mail address, e.g. name@example.com"
	}
	return ""
}

// plainEmail recognizes what nearly all e-mail addresses look like, so that few
// must be parsed: words of letters, digits, "_", "-" and "+" with single dots between
// them, an "@", and two or more such words.
func plainEmail(v string) bool {
	at, dot, word := -1, false, 0
	for i := range len(v) {
		switch c := v[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_' && at < 0, c == '-', c == '+' && at < 0:
			word++
		case c == '.' && word > 0:
			dot, word = at >= 0, 0
		case c == '@' && word > 0 && at < 0:
			at, word = i, 0
		default:
			return false
		}
	}
	return dot && word > 0
}
