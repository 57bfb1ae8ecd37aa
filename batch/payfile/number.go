package payfile

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"masspay/gate"
)

func phoneColumn(c string) bool {
	return c == "customer.phone" || c == "customer.home_phone" || c == "customer.work_phone" || c == "sender.phone"
}

// phone finds what spreadsheets and people do to phone numbers.
func phone(v string) string {
	switch {
	case allDigits(v):
		return ""
	case eaten(v):
		return "a spreadsheet turned the number into scientific notation: format the column as text and fill it in again"
	case strings.IndexFunc(v, func(c rune) bool { return unicode.IsDigit(c) && c > unicode.MaxASCII }) >= 0:
		return "digits 0 to 9 only, no other script's"
	}
	return "digits only, with the country code and without +, spaces or brackets"
}

var spoiled = regexp.MustCompile(`^[0-9]+([.,][0-9]+)?[eE]\+?[0-9]+$|^[0-9]+[.,]0$`)

// eaten recognizes 9.967E+11 and 996555123456.0.
func eaten(v string) bool {
	return spoiled.MatchString(v)
}

// kyrgyzPhone checks the account of a payment by phone number in Kyrgyzstan: a
// phone number with its country code, in digits; there it is 996 and nine more.
func (r *rules) kyrgyzPhone(line int, v string) {
	if v == "" || unsafe(v) != "" {
		return
	}
	text := phone(v)
	switch {
	case text != "":
	case strings.HasPrefix(v, "996") && len(v) != 12:
		text = fmt.Sprintf("a Kyrgyz number is 996 and nine digits, this has %d digits in all", len(v))
	case strings.HasPrefix(v, "0"):
		text = "write the number with its country code: 996 instead of the leading 0"
	case len(v) < 10:
		text = "too short for a phone number with its country code, e.g. 996555123456"
	case len(v) > 15:
		text = "too long for a phone number: at most 15 digits"
	}
	if text != "" {
		r.problem(line, gate.ColAccount, v, text)
		return
	}
	if !strings.HasPrefix(v, "996") {
		r.warnings.add(line, gate.ColAccount+": not a Kyrgyz number (996 and nine digits); sent as it is")
	}
}

// pan checks a card number, Luhn's digit included.
func pan(v string) string {
	if eaten(v) {
		return "a spreadsheet turned the number into scientific notation: format the column as text and fill it in again"
	}
	if !allDigits(v) || len(v) < 12 || len(v) > 19 {
		return "a card number is 12 to 19 digits without spaces"
	}
	sum := 0
	for i := range len(v) {
		d := int(v[len(v)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	if sum%10 != 0 {
		return "not a card number: its check digit is wrong"
	}
	return ""
}
