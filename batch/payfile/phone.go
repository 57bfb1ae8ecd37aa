package payfile

import (
	"fmt"
	"strings"
	"unicode"

	"masspay/gate"
)

func phoneColumn(c string) bool {
	return c == "customer.phone" || c == "customer.home_phone" || c == "customer.work_phone" || c == "sender.phone"
}

const phonePunctuation = "digits only, with the country code and without +, spaces or brackets"

// phone finds what spreadsheets and people do to phone numbers.
func phone(v string) string {
	switch {
	case allDigits(v):
		return ""
	case scientificNotation(v):
		return spreadsheetPower
	case strings.IndexFunc(v, func(c rune) bool { return unicode.IsDigit(c) && c > unicode.MaxASCII }) >= 0:
		return "digits 0 to 9 only, no other script's"
	}
	return phonePunctuation
}

// kyrgyzPhone checks the account of a payment by phone number in Kyrgyzstan: a
// phone number with its country code, in digits; there it is 996 and nine more.
func (r *rules) kyrgyzPhone(line int, v string) {
	if v == "" || unsafe(v) != "" {
		return
	}
	if told, _ := suspect(v, digits, true); told != "" {
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
