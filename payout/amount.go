package payout

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxMinor is the largest amount of one payout in minor units, a limit of the
// platform's mass payment file.
const MaxMinor = 10_000_000_000_000

// Amount is a sum of money in whole minor units of its currency, as 1250 for
// 12.50 KGS. No float ever touches it.
type Amount struct {
	Minor    int64
	Currency string // ISO 4217 alpha-3
}

// String renders the amount for people, in major units with thousands
// separators: "12,500.00 KGS". An unknown currency is shown in minor units.
func (a Amount) String() string {
	exp, ok := Exponent(a.Currency)
	if !ok {
		return strings.TrimSpace(group(strconv.FormatInt(a.Minor, 10)) + " minor units " + a.Currency)
	}
	digits, sign := strconv.FormatInt(a.Minor, 10), ""
	if a.Minor < 0 {
		digits, sign = digits[1:], "-"
	}
	for len(digits) <= exp {
		digits = "0" + digits
	}
	whole, part := digits[:len(digits)-exp], digits[len(digits)-exp:]
	if part != "" {
		part = "." + part
	}
	return sign + group(whole) + part + " " + a.Currency
}

// group puts a comma after every third digit from the right.
func group(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// FormatNumber renders a number for people, with thousands separators.
func FormatNumber[N int | int64 | uint64 | uint32](n N) string { return group(fmt.Sprint(n)) }

// ErrAmount is what ParseMinor and ParseTotal wrap.
var ErrAmount = errors.New("not an amount")

// ParseMinor reads an amount in minor units: ASCII digits only, no sign, no
// leading zero, 1 to MaxMinor. Everything else is an error that wraps
// ErrAmount.
func ParseMinor(s string) (int64, error) {
	if s == "" {
		return 0, fmt.Errorf("%w: empty", ErrAmount)
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, fmt.Errorf("%w: whole minor units in digits 0 to 9 only", ErrAmount)
		}
	}
	if s[0] == '0' {
		if strings.Trim(s, "0") == "" {
			return 0, fmt.Errorf("%w: must be more than zero", ErrAmount)
		}
		return 0, fmt.Errorf("%w: leading zero", ErrAmount)
	}
	if len(s) > 15 {
		return 0, fmt.Errorf("%w: over %s minor units", ErrAmount, FormatNumber(int64(MaxMinor)))
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > MaxMinor {
		return 0, fmt.Errorf("%w: over %s minor units", ErrAmount, FormatNumber(int64(MaxMinor)))
	}
	return n, nil
}

// Total is the amount as ParseTotal reads it: major units and the currency, "1250000.00KGS".
func (a Amount) Total() string {
	return strings.ReplaceAll(strings.ReplaceAll(a.String(), ",", ""), " ", "")
}

// ParseTotal reads a control total in major units with its currency, as
// "1250000.00KGS" or "500JPY". It needs exactly the currency's decimals, or
// none; a thousands separator is refused, because it would be guessed at.
func ParseTotal(s string) (Amount, error) {
	if len(s) < 4 {
		return Amount{}, fmt.Errorf("%w: write it as 1250000.00KGS", ErrAmount)
	}
	number, currency := strings.TrimSuffix(s[:len(s)-3], " "), s[len(s)-3:]
	exp, ok := Exponent(currency)
	if !ok {
		return Amount{}, fmt.Errorf("%w: %q is not a currency; write it as 1250000.00KGS", ErrAmount, currency)
	}
	whole, part, dot := strings.Cut(number, ".")
	if dot && len(part) != exp {
		return Amount{}, fmt.Errorf("%w: %s has %d decimals", ErrAmount, currency, exp)
	}
	if !dot {
		part = strings.Repeat("0", exp)
	}
	for _, c := range whole + part {
		if c < '0' || c > '9' {
			return Amount{}, fmt.Errorf("%w: digits and one point only, as 1250000.00KGS", ErrAmount)
		}
	}
	if whole == "" || len(whole+part) > 18 {
		return Amount{}, fmt.Errorf("%w: write it as 1250000.00KGS", ErrAmount)
	}
	minor, err := strconv.ParseInt(whole+part, 10, 64)
	if err != nil {
		return Amount{}, fmt.Errorf("%w: %s", ErrAmount, s)
	}
	return Amount{Minor: minor, Currency: currency}, nil
}

// Exponent is the number of decimals of a currency's minor unit, by ISO 4217.
// It knows withdrawn currencies too, so that old amounts stay readable.
func Exponent(currency string) (int, bool) {
	c, ok := currencies[currency]
	return int(c.exponent), ok
}

// CurrentCurrency reports whether a currency is in force at a time.
func CurrentCurrency(currency string, at time.Time) bool {
	c, ok := currencies[currency]
	if !ok {
		return false
	}
	day := at.UTC().Format(time.DateOnly)
	return (c.from == "" || c.from <= day) && (c.until == "" || day <= c.until)
}

// FormatQuantity is a number of things, as "1 batch" and "1,250 batches".
func FormatQuantity(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "ch") {
		what += "e"
	}
	return FormatNumber(n) + " " + what + "s"
}
