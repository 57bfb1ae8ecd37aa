package payout

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// destinations are the columns that say where money goes, best first. Methods that know several
// need the account's number and may have the others, so that it comes before them.
var destinations = []string{
	FieldAccount, "card.pan", "account.iban", "account.wallet_address", "token",
	"account.alias", "account.voucher_code", "customer.phone", "customer.email", FieldCustomer,
}

// SaysWhere reports whether a column says where money goes and nothing else: a method that does
// not know it has no use for it.
func SaysWhere(column string) bool {
	i := slices.Index(destinations, column)
	return i >= 0 && i <= slices.Index(destinations, "account.voucher_code")
}

// AppendAccount appends an account as it is however it was written: letters and digits only,
// in capitals, in the forms of ASCII where they have one. One that has none is left as it is.
func AppendAccount(b []byte, account string) []byte {
	start := len(b)
	for _, c := range account {
		switch {
		case c < utf8.RuneSelf && c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c == '@':
			b = append(b, byte(c))
		case c >= 'a' && c <= 'z':
			b = append(b, byte(c)-'a'+'A')
		case c < utf8.RuneSelf:
		case c >= '\uff21' && c <= '\uff3a', c >= '\uff41' && c <= '\uff5a':
			b = append(b, byte((c-'\uff21')%('a'-'A'))+'A') // full width
		case unicode.IsDigit(c):
			b = append(b, '0'+digit(c))
		case unicode.IsLetter(c) || unicode.IsMark(c):
			b = utf8.AppendRune(b, unicode.ToUpper(c))
		}
	}
	if len(b) == start {
		return append(b, account...)
	}
	return b
}

// digit is the value of a decimal digit of any script; they come in tens.
func digit(c rune) byte {
	for _, r := range unicode.Nd.R16 {
		if uint16(c) >= r.Lo && uint16(c) <= r.Hi && c <= 0xffff {
			return byte((uint16(c) - r.Lo) % 10)
		}
	}
	for _, r := range unicode.Nd.R32 {
		if uint32(c) >= r.Lo && uint32(c) <= r.Hi {
			return byte((uint32(c) - r.Lo) % 10)
		}
	}
	return 0
}

// Destinations are the places among a file's columns that say where money goes, best
// first: a row's goes to the first of them that is not empty.
func Destinations(columns []string) (places []int) {
	for _, c := range destinations {
		if i := slices.Index(columns, c); i >= 0 {
			places = append(places, i)
		}
	}
	return places
}
