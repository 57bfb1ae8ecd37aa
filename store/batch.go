package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"masspay/payout"
)

// Batch is a file of payouts, known by the SHA-256 of its bytes.
type Batch struct {
	ID        string          `json:"id"`     // SHA-256, 64 hex digits
	Number    uint32          `json:"number"` // in the store
	Name      string          `json:"name"`   // base name of the file that was loaded
	Columns   []string        `json:"columns"`
	Delimiter string          `json:"delimiter"`
	BOM       bool            `json:"bom,omitempty"`  // the file began with a byte order mark
	Size      int64           `json:"size,omitempty"` // of the file, in bytes; 0: not known
	Rows      int             `json:"rows"`           // all rows, skipped ones included
	Skipped   int             `json:"skipped"`        // rows left out by --skip-invalid
	Totals    []payout.Amount `json:"totals"`         // of the rows that are not skipped, by currency
	LoadedAt  time.Time       `json:"loaded_at"`
	Series    *Series         `json:"series,omitempty"`    // its number in a series; nil: it is of none
	Approvals []Approval      `json:"approvals,omitempty"` // that it was loaded with, and those of Approve
	Counts    []Count         `json:"-"`                   // kept as it goes, never counted
	Held      *Hold           `json:"-"`                   // nil: it may be claimed
	ChangedAt time.Time       `json:"-"`                   // when a payout of it last changed, by the wall clock; zero: not since it was loaded
}

// Approval is a signed statement about a file, as it came with it.
type Approval struct {
	Name      string `json:"name"` // of the file that it was in
	Statement []byte `json:"statement"`
	Signature []byte `json:"signature"`
}

// mostApprovals is how many are kept of a batch.
const mostApprovals = 100

// NewApprovals are those of some that are not among those of a batch yet.
func NewApprovals(had, some []Approval) (fresh []Approval, err error) {
	same := func(a Approval) func(Approval) bool {
		return func(b Approval) bool {
			return bytes.Equal(a.Statement, b.Statement) && bytes.Equal(a.Signature, b.Signature)
		}
	}
	for _, a := range some {
		if !slices.ContainsFunc(had, same(a)) && !slices.ContainsFunc(fresh, same(a)) {
			fresh = append(fresh, a)
		}
	}
	if len(had)+len(fresh) > mostApprovals {
		return nil, fmt.Errorf("a batch keeps %d approvals at the most", mostApprovals)
	}
	return fresh, nil
}

// Short is the part of a batch's id that people read.
func (b Batch) Short() string { return b.ID[:min(12, len(b.ID))] }

// Count is how many payouts of a batch are in one state, and their sum. What is settled
// and was not paid is counted by code, too.
type Count struct {
	State  payout.State
	Code   string        // payout.Payout.Reason, or OtherCodes
	Amount payout.Amount // sum
	N      int
	Check  int   // of those, how many want a person's check
	Minor  int64 // and their sum, in minor units
	Stuck  int   // of the open, how many only a person can decide, though no check is due
}

// Gates have some hundred codes. Of a batch MaxCodes are told apart, and whatever else comes is
// counted under OtherCodes, which is no code.
const (
	MaxCodes   = 200
	OtherCodes = "..."
)

// CompareCounts is the order of counts: by state, then by code and currency.
func CompareCounts(a, b Count) int {
	return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Amount.Currency, b.Amount.Currency))
}

// Open is how many payouts of the batch are open.
func (b Batch) Open() int {
	n := 0
	for _, c := range b.Counts {
		if c.State.Open() {
			n += c.N
		}
	}
	return n
}

// Waiting is how many payouts of the batch wait for something that comes by itself;
// see payout.Waiting.
func (b Batch) Waiting() int {
	n := 0
	for _, c := range b.Counts {
		if c.State.Open() {
			n += c.N - c.Check - c.Stuck
		}
	}
	return n
}

// Unsent is how many payouts of the batch wait to be sent.
func (b Batch) Unsent() int {
	n := 0
	for _, c := range b.Counts {
		if c.State == payout.StateNew {
			n += c.N - c.Check - c.Stuck
		}
	}
	return n
}

// InState is how many payouts of the batch are in a state.
func (b Batch) InState(s payout.State) int {
	n := 0
	for _, c := range b.Counts {
		if c.State == s {
			n += c.N
		}
	}
	return n
}

// Names maps the numbers of all batches to what people call them.
func Names(ctx context.Context, s interface {
	Batches(ctx context.Context) iter.Seq2[Batch, error]
}) (map[uint32]string, error) {
	names := map[uint32]string{}
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		names[b.Number] = b.Short()
	}
	return names, nil
}
