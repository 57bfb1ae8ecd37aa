package payfile

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"masspay/gate"
)

// check holds one value against its column; it returns what is wrong, or "".
func (c *columnRules) check(v string) string {
	f := c.field
	switch f.Type {
	case gate.Integer:
		if !gate.IntegerText(v) {
			return "a whole number in plain digits, without leading zeros"
		}
		n, _ := strconv.ParseInt(v, 10, 64)
		if f.Minimum != nil && n < *f.Minimum || f.Maximum != nil && n > *f.Maximum {
			return limits("must be", f.Minimum, f.Maximum)
		}
		if f.MaxLength > 0 && len(v) > f.MaxLength {
			return fmt.Sprintf("at most %d digits", f.MaxLength)
		}
		return ""
	case gate.Boolean:
		if v != "true" && v != "false" {
			return "write true or false"
		}
		return ""
	}
	if c.phone {
		if text := phone(v); text != "" {
			return text
		}
	}
	switch n := utf8.RuneCountInString(v); {
	case spaced(v) && strings.TrimSpace(v) == "":
		return "only spaces: fill it in or leave it empty"
	case n < f.MinLength:
		return fmt.Sprintf("at least %d characters", f.MinLength)
	case f.MaxLength > 0 && n > f.MaxLength:
		return fmt.Sprintf("%d characters, at most %d are allowed", n, f.MaxLength)
	case len(f.Enum) > 0 && !slices.Contains(f.Enum, v):
		return "one of " + strings.Join(f.Enum, ", ")
	case !f.Matches(v):
		return "does not have the form that the platform asks for (" + f.Pattern + ")"
	}
	return formatted(f.Format, v)
}

func formatted(format, v string) string {
	switch format {
	case "ip-address":
		if _, err := netip.ParseAddr(v); err != nil {
			return "not an IP address, e.g. 198.51.100.47"
		}
	case "email":
		if !plainEmail(v) {
			return slowEmail(v)
		}
	case "pan":
		return pan(v)
	}
	return ""
}

func limits(text string, least, most *int64) string {
	if least != nil && most != nil {
		return fmt.Sprintf("%s %d to %d", text, *least, *most)
	}
	if least != nil {
		return fmt.Sprintf("%s at least %d", text, *least)
	}
	return fmt.Sprintf("%s at most %d", text, *most)
}
