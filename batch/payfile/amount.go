package payfile

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"masspay/gate"
	"masspay/payout"
)

// amount reads an amount: whole minor units, and nothing else. What looks like one is
// named with what it would be, and never converted.
func (r *rules) amount(line int, v, currency string) int64 {
	n, err := payout.ParseMinor(v)
	if err == nil {
		return n
	}
	exp, known := payout.Exponent(currency)
	text := "whole minor units, digits only"
	if known && exp > 0 {
		text = "whole minor units (cents and the like), digits only, e.g. 1250 for " + payout.Amount{Minor: 1250, Currency: currency}.String()
	} else if known {
		text = "whole units of " + currency + ", digits only, e.g. 1250"
	}
	switch {
	case v == "":
		text = "empty: " + text
	case allDigits(v) && strings.Trim(v, "0") == "":
		text = "must be more than zero"
	case allDigits(v) && v[0] == '0':
		text = "leading zero: is it really an amount? Write it without"
	case allDigits(v):
		text = "more than " + payout.FormatNumber(int64(payout.MaxMinor)) + " minor units, the platform's limit"
	case powerOfTen.MatchString(v):
		text = spreadsheetPower
	case known:
		if shape, would := amountShape(v, exp, currency); would != "" {
			p := newProblem(line, gate.ColAmount, v, "whole minor units"+shape+": "+would+"; masspay does not convert amounts")
			p.kind = "shape" + shape // rows of one shape share a problem
			r.problems.add(p)
			return 0
		}
	}
	r.problem(line, gate.ColAmount, v, text)
	return 0
}

var written = regexp.MustCompile(`^([0-9]{1,3}(?:[.,'’][0-9]{3})+|[0-9]+)(?:([.,])([0-9]+))?$`)

// amountShape says how an amount is written that is no whole number of minor units, and
// what it would be; "" where it is anything else.
func amountShape(v string, exp int, currency string) (shape, would string) {
	noBreak := strings.ContainsAny(v, "\u00a0\u202f\u2007")
	plain := strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || c == '\u202f' {
			return -1
		}
		return c
	}, v)
	m := written.FindStringSubmatch(plain)
	if m == nil {
		return "", ""
	}
	digits := strings.NewReplacer(".", "", ",", "", "'", "", "’", "").Replace(m[1])
	grouped := digits != m[1]
	switch {
	case noBreak:
		shape = ", without the no-break spaces"
	case plain != v:
		shape = ", without spaces"
	}
	as := func(text string) string {
		minor, err := payout.ParseMinor(strings.TrimLeft(text, "0"))
		if err != nil {
			return ""
		}
		return strconv.FormatInt(minor, 10) + " if this is " + payout.Amount{Minor: minor, Currency: currency}.String()
	}
	switch {
	case len(m[3]) > 0 && len(m[3]) <= exp:
		return shape, as(digits + m[3] + strings.Repeat("0", exp-len(m[3])))
	case len(m[3]) > 0:
		return "", ""
	}
	if grouped && exp > 0 {
		major, minor := as(digits+strings.Repeat("0", exp)), as(digits)
		if major != "" && minor != "" {
			return ", without separators", major + ", " + minor
		}
	}
	return shape, as(digits)
}
