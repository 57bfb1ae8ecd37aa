package store

import (
	"time"

	"masspay/payout"
)

// Claim asks for payouts to send.
type Claim struct {
	Batch    string       // id
	N        int          // at most so many
	Host     string       // gate that they will be sent to
	Skip     []payout.Key // leave these out
	Through  string       // token of a canary's hold that lets this claim through; empty: none
	AskFirst bool         // the gate is asked about each before it is sent, because the store is a restored copy
}

// Claims are payouts that this process may send.
type Claims struct {
	Payouts []Claimed
	Blocked []Blocked // retries that were met and must wait; more of them may be left
}

// Blocked is a retry that must wait for another payout of its row.
type Blocked struct {
	Key payout.Key
	By  payout.Payout
}

// Claimed is a payout that this process may send, with its row.
type Claimed struct {
	payout.Payout
	Columns []string
	Cells   []string
}

// Change is what an event did.
type Change struct {
	Was    payout.State // before the event
	After  payout.Payout
	Effect payout.Effect
	Kept   bool // the id is not known; the event waits under its key for a Load
}

// Freed reports whether the payout may be sent again, and could not before.
func (c Change) Freed() bool {
	return c.After.State == payout.StateNew && c.Was != payout.StateNew
}

// Filter chooses payouts.
type Filter struct {
	Batch  string         // id; empty: all batches. In line order with a batch, in load order without
	States []payout.State // empty: all
	Gate   string         // identity; not empty: only those that this gate is to be polled about
	Others bool           // with Gate: only those that another gate is to be polled about
	Limit  int            // 0: no limit
	Events bool           // with their events

	Exception payout.Exception // not zero: only those that are such, found without a scan, in load order
	After     uint64           // with Exception: only payouts with higher numbers
}

// Due asks for payouts whose poll is due.
type Due struct {
	Batch string // id; empty: all batches
	Gate  string // identity of the gate that is to be polled
	N     int    // at most so many
	Lease time.Duration
}
