package batch

import (
	"context"
	"iter"
	"slices"
	"strings"
	"unicode"

	"masspay/gate"
	"masspay/store"
)

// Search says which rows to find. What is empty is not compared.
type Search struct {
	ID      string // payment_id, as it is written
	Account string // of a recipient: account, card or phone; spaces, dashes and a plus do not count
	Name    string // words of a recipient's name, in any order, whatever their capitals

	Begin func(b store.Batch) // before the rows of a batch are read; may be nil
}

// Found is a row that a search found, with its payout as it is now.
type Found struct {
	Batch store.Batch
	Line  store.Line
}

// Find reads the sealed rows of the newest batches first and yields those that fit.
// Nothing but the store's key is needed for it; it takes time with the rows, and its
// memory does not grow with them.
func Find(ctx context.Context, s store.Store, q Search) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		var batches []store.Batch
		for b, err := range s.Batches(ctx) {
			if err != nil {
				yield(Found{}, err)
				return
			}
			batches = append(batches, b)
		}
		slices.Reverse(batches)
		for _, b := range batches {
			if q.Begin != nil {
				q.Begin(b)
			}
			fits := q.in(b.Columns)
			for l, err := range s.Lines(ctx, b.ID) {
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					yield(Found{}, err)
					return
				}
				if fits(l.Cells) && !yield(Found{b, l}, nil) {
					return
				}
			}
		}
	}
}

// in returns what says whether a row with these columns fits.
func (q Search) in(columns []string) func(cells []string) bool {
	var ids, accounts, names []int
	for i, c := range columns {
		switch {
		case c == gate.ColPaymentID:
			ids = append(ids, i)
		case accountColumn(c):
			accounts = append(accounts, i)
		case nameColumn(c):
			names = append(names, i)
		}
	}
	account, words := digitsOf(q.Account), wordsOf(q.Name)
	return func(cells []string) bool {
		at := func(i int) string {
			if i < len(cells) {
				return cells[i]
			}
			return "" // a row that was left out may be short
		}
		if q.ID != "" && !slices.ContainsFunc(ids, func(i int) bool { return strings.EqualFold(at(i), q.ID) }) {
			return false
		}
		if account != "" && !slices.ContainsFunc(accounts, func(i int) bool { return sameAccount(at(i), account) }) {
			return false
		}
		if len(words) > 0 {
			var have []string
			for _, i := range names {
				have = append(have, wordsOf(at(i))...)
			}
			for _, w := range words {
				if !slices.Contains(have, w) {
					return false
				}
			}
		}
		return q.ID != "" || account != "" || len(words) > 0
	}
}

// lastPart is what a column's name ends with.
func lastPart(column string) string { return column[strings.LastIndexByte(column, '.')+1:] }

// accountColumn reports whether a column says where a recipient's money goes.
func accountColumn(column string) bool {
	if strings.HasPrefix(column, "sender.") {
		return false
	}
	switch lastPart(column) {
	case "number", "account_number", "pan", "iban", "wallet_id", "wallet_address", "phone":
		return true
	}
	return false
}

// nameColumn reports whether a column has a recipient's name or a part of it.
func nameColumn(column string) bool {
	if strings.HasPrefix(column, "sender.") {
		return false
	}
	switch lastPart(column) {
	case "first_name", "middle_name", "last_name", "customer_name", "native_customer_name", "card_holder", "name", "full_name":
		return true
	}
	return false
}

// digitsOf is an account without what people write between its parts.
func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToUpper(r)
		}
		return -1
	}, s)
}

// sameAccount reports whether an account is the one that is searched for, also where
// that was written without its country, or with a 0 in its place.
func sameAccount(have, search string) bool {
	const telling = 7 // digits that are enough to tell accounts apart
	have = digitsOf(have)
	if have == search {
		return true
	}
	tail := strings.TrimLeft(search, "0")
	return len(tail) >= telling && strings.HasSuffix(have, tail)
}

// wordsOf are the words of a name.
func wordsOf(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\'' })
}
