package payout

import "strings"

// Mask hides the middle of a personal value, so that a person who knows it
// recognizes it and nobody else learns it: "996555***67". Short values are
// hidden whole.
func Mask(s string) string {
	r := []rune(s)
	switch {
	case len(r) == 0:
		return ""
	case len(r) <= 4:
		return strings.Repeat("*", len(r))
	case len(r) <= 8:
		return string(r[:1]) + "***" + string(r[len(r)-1:])
	case len(r) <= 12:
		return string(r[:3]) + "***" + string(r[len(r)-2:])
	}
	return string(r[:4]) + "***" + string(r[len(r)-3:])
}
