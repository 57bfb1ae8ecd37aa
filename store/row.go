package store

import "masspay/payout"

// Row is a row of a file on its way into the store.
type Row struct {
	Line   int // physical line in the file
	Key    payout.Key
	Method string
	Amount payout.Amount
	Masked string // destination with its middle hidden
	Cells  []string
	Skip   string // why it is left out; then only Line and Cells count

	// Canonical is what its request will be signed over: with the method, the content
	// that a row of the same id must have. The store keeps a keyed digest of it.
	Canonical []byte
}

// Line is a row of a batch as it is kept.
type Line struct {
	Index  int
	Line   int
	Cells  []string
	Skip   string        // why it was left out; then there is no payout
	Payout payout.Payout // as it is now
}

// Loaded says what became of a file's rows.
type Loaded struct {
	Batch Batch
	New   int // payouts that are new with this batch
	Known int // rows whose payouts the store had already
	Early int // callbacks that had been kept for the new payouts
}

// Blocker is a payout of the same row as another one, that is paid or may be, or was refused
// for good.
type Blocker struct {
	By   payout.Payout // Number 0: there is none
	Same bool          // it has the same amount and payee, and the other one must not be paid
}
