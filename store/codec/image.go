package codec

import (
	"iter"
	"time"

	"masspay/payout"
	"masspay/store"
)

// Image is everything that a store keeps, for another one to take over as it is: numbers,
// digests, sealed rows and histories stay what they are. Nothing in it is being sent.
type Image struct {
	NextNumber uint64 // of the next payout
	NextBatch  uint32
	Generation uint64
	Claimed    time.Time // the last time
	Batches    []BatchImage
	Payouts    iter.Seq2[Record, error] // in the order of their numbers
	Lines      iter.Seq2[LineImage, error]
	Families   map[payout.Digest][]string
	Reports    []ReportImage
	Gates      []string // proven
	Runs       []store.Run
	Audit      []store.Link
	Series     map[string]uint64 // last numbers
	Totals     store.Totals
	Minutes    map[uint32][]store.Minute // by batch
	Sightings  iter.Seq2[SightingImage, error]
	Customers  iter.Seq2[CustomerImage, error]

	// Handed is called when everything was taken over, right before that becomes durable:
	// from then on the old store sends nothing.
	Handed func() error
}

// BatchImage is a batch with how far its claiming has come.
type BatchImage struct {
	store.Batch
	Cursor uint32
}

// LineImage is a row as it is kept.
type LineImage struct {
	Batch, Index uint32
	Payout       uint64 // 0: skipped
	Line         uint64
	Skip         string
	Sealed       []byte
}

// SightingImage is by what a payout is known again.
type SightingImage struct {
	Batch   uint32
	Account store.Mark
	Payout  uint64
}

// CustomerImage are the accounts of a customer.
type CustomerImage struct {
	Customer store.Mark
	Accounts []store.Remembered
}

// ReportImage is a report about an id that no file has brought yet.
type ReportImage struct {
	ID    payout.Digest
	Event payout.Event
}

// MovedCounts are what was moved.
type MovedCounts struct {
	Batches, Rows, Payouts, Runs int
	Before                       bool // it was moved before; nothing was changed
}
