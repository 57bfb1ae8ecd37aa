package payout

import "slices"

// destinations are the columns that say where money goes, best first.
var destinations = []string{
	"card.pan", "account.iban", "account.wallet_address", FieldAccount, "token",
	"customer.phone", "account.alias", "account.voucher_code", "customer.email", FieldCustomer,
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
