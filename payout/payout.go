// Package payout is the vocabulary of masspay: what a payout is, which states
// it can be in, and which events move it from one to another. It uses the
// standard library only, talks to nothing and stores nothing. Everything else
// in the program imports it.
package payout

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// Key names a payout for ever: the project and the payment_id within it. The
// platform keeps payment ids unique per project, and so does masspay, over all
// files.
type Key struct {
	ProjectID uint32
	PaymentID string
}

func (k Key) String() string { return fmt.Sprintf("%d/%s", k.ProjectID, k.PaymentID) }

// Tick is a moment on a machine's own clock, which cannot be set. Ticks of
// different boots cannot be compared. The zero value is no moment.
type Tick struct {
	Boot uint64
	At   time.Duration // since the boot, or any moment that is the same for all of it
}

// Since is the time from u to t; ok says that they can be compared.
func (t Tick) Since(u Tick) (d time.Duration, ok bool) {
	return t.At - u.At, t.Boot != 0 && t.Boot == u.Boot
}

// Digest is a keyed digest. Where it means a payment id it finds the id
// in the store's index; where it means a content it tells whether two
// rows ask for the same payout. It cannot be read back.
type Digest [16]byte

// Payout is one payout and all that is known of it, but for its sealed row.
// The zero value is not a payout; New makes one.
type Payout struct {
	Number  uint64 // running number in the store, in load order; never reused
	Key     Key
	Method  string // endpoint segment, as "sbp-p2p" or "banks/spei"
	Amount  Amount // what was asked for
	Masked  string // destination with its middle hidden
	Content Digest // of the method and the unsigned canonical string

	Places  []Place // every row that asks for it, the one that it is sent from first
	Events  int     // how many events are kept of it
	Dropped int     // how many of its middle were not kept

	State   State
	Attempt int    // claims so far; also the number of the current or last attempt
	Tries   int    // payout requests made, over all attempts
	Owner   uint64 // who holds the claim while Sending
	SentBy  uint32 // number of the batch that it was last claimed for

	Doubted   bool      // an attempt of it may have become a payment
	Seen      bool      // the gate has acknowledged the id at least once
	Unproven  bool      // the id was taken at the first attempt and the gate's payment is not shown to be ours
	Epoch     uint64    // restore of the store in which it was last suspected
	LostSince time.Time // with Epoch: the lost store cannot have sent it before
	Host      string    // gate host of the last attempt
	EndedAt   time.Time // when the last attempt ended, or its owner was found dead
	EndedTick Tick      // the same on a clock that cannot be set; only while it is in doubt
	NotSeenAt time.Time // first "not found" since EndedAt
	NotSeen   Tick      // the same
	Polls     int       // polls in a row that brought nothing new
	PollAt    time.Time // when to poll next; zero: nothing to poll
	FirstSent time.Time
	FinalAt   time.Time
	Reported  Reported // what the gate has said last
	Flags     Flags

	AcceptedAttempt int         // the attempt whose request the gate accepted; 0: none yet
	MayHaveLeft     bool        // a request of it may have become a payment, since the store was last suspected
	Bar             Bar         // why "not found" does not free it for now
	Closed          Flags       // oddities that a person has seen
	Outcomes        uint16      // outcomes that the gate has reported, by State, as bits
	OddStatuses     []string    // statuses that were shown to a person, each once
	Paid            []Operation // successful operations of it that the gate has reported
	Second          string      // with PaidTwice: what names the other payment
	Field           string      // with NotOurs and Unproved: the field that differs or is missing
	PolledSoonAt    time.Time   // when a body that could be read in two ways last brought a poll forward
	ReportedAt      time.Time   // when a gate last said anything about it that was not ignored
	ClarifySince    time.Time   // since when the gate is known to wait for a clarification of it; zero: it does not
	Resolution      Resolution
}

// Resolution is what a person decided about a payout that no gate can decide. The
// zero value is no decision.
type Resolution struct {
	As     State // StatePaid or StateDeclined
	By     string
	At     time.Time
	Reason string
}

// Place is a row of a batch.
type Place struct {
	Batch uint32 // number of the batch in the store
	Index uint32 // of the row within the batch, from 0
}

// New returns a payout that was never attempted.
func New(key Key, method string, amount Amount) Payout {
	return Payout{Key: key, Method: method, Amount: amount, State: StateNew}
}

// Flags are the oddities of a payout. None changes its state; each shows in
// the result, and those of NeedsCheck want a person.
type Flags uint16

// The oddities.
const (
	Contradicted  Flags = 1 << iota // two outcomes that cannot both be true
	AmountDiffers                   // the gate's amount or currency is not what was asked for
	NotOurs                         // the gate's payment of this id was made for another
	LateReport                      // the gate spoke of it again after it was final
	OtherType                       // a callback about the id was not about a payout
	WasDoubted                      // an attempt got no answer; only the gate's report cleared it
	Overtaken                       // the outcome came before the answer
	Proved                          // the gate's payment was shown to be this row's
	Restored                        // the gate knew of it before this store did
	Unproved                        // the gate reports a payment of this id that is not shown to be ours
	PaidTwice                       // the gate reports more than one payment of it
	OddStatus                       // the gate reported a status that a person must read; see Words
	Vanished                        // the gate says that it has the id, and that it does not know it
	Ended                           // the gate ended it without success, by a status that is no refusal
	Reviewed                        // a person has seen what arrived of it, or that it came back
)

// toCheck are the oddities that want a person.
const toCheck = Contradicted | AmountDiffers | NotOurs | Unproved | PaidTwice | OddStatus | Vanished

// NeedsCheck reports whether a person must look before anybody trusts the
// state, and has not yet.
func (p *Payout) NeedsCheck() bool { return p.Flags&toCheck&^p.Closed != 0 }

// Reviewable reports whether only part of the money arrived or it came back, and no
// person has seen that yet.
func (p *Payout) Reviewable() bool {
	return (p.State == StatePartial || p.State == StateReturned) && p.Flags&Reviewed == 0 && !p.NeedsCheck()
}

// Exception says whether a payout is one that a person must look at, or has looked at.
type Exception uint8

// What a payout can be. The zero value is none.
const (
	NoException     Exception = iota
	OpenException             // a person must look: a check, money that came in part or came back, a row that the gate ended without an outcome, or one that it waits for a clarification of
	ClosedException           // a person has looked at all of that
)

// ClarifyWithin is for how long the platform waits for a clarification of a payout before it
// declines it, as its documentation has it for payouts that come by its API.
const ClarifyWithin = 30 * time.Minute

// ClarifyBy is when the platform declines the payout at the latest if nobody answers its
// question; it may have waited before masspay heard of it. Zero: it waits for no answer.
func (p *Payout) ClarifyBy() time.Time {
	if p.ClarifySince.IsZero() || !p.State.Open() {
		return time.Time{}
	}
	return p.ClarifySince.Add(ClarifyWithin)
}

// Questions counts payouts that the platform has a question about.
type Questions struct {
	N        int
	AnswerBy time.Time // the first of them; zero: none
}

// Add counts a payout, if it is one of them.
func (q *Questions) Add(p *Payout) {
	by := p.ClarifyBy()
	if by.IsZero() {
		return
	}
	q.N++
	if q.AnswerBy.IsZero() || by.Before(q.AnswerBy) {
		q.AnswerBy = by
	}
}

// Exception is what the payout is.
func (p *Payout) Exception() Exception {
	switch {
	case p.NeedsCheck() || p.Reviewable() || p.State.Open() && (p.Flags&Ended != 0 || !p.ClarifySince.IsZero()):
		return OpenException
	case p.Closed != 0 || p.Flags&Reviewed != 0 || p.Resolution.As != 0:
		return ClosedException
	}
	return NoException
}

// In reports whether the payout stands in a batch.
func (p *Payout) In(batch uint32) bool {
	return slices.ContainsFunc(p.Places, func(at Place) bool { return at.Batch == batch })
}

// Reason is the gate's code of a payout that is settled and was not paid, with nothing for a
// person to check. It is empty for every other one, and where the gate gave none.
func (p *Payout) Reason() string {
	if (p.State == StateDeclined || p.State == StateRejected || p.State == StateReturned) && !p.NeedsCheck() {
		return p.Reported.Code
	}
	return ""
}

// OfAnother reports whether the gate reported a payment of the id that was not
// shown to be this row's.
func (p *Payout) OfAnother() bool { return p.Flags&(NotOurs|Unproved) != 0 }

// Claimable reports whether the payout may be sent to a gate, as the rules know
// it. What the gate has for another is never sent, and what may have become a
// payment at one gate is never sent to another.
func (p *Payout) Claimable(r Rules, gate string) bool {
	return p.State == StateNew && !p.OfAnother() && (!p.Bound() || r.SameGate(p.Host, gate))
}

// Bound reports whether the payout belongs to its gate: it may have become a payment
// there, or a lost store may have sent it there. It stays so whatever that gate says.
func (p *Payout) Bound() bool {
	return p.Host != "" && (p.MayHaveLeft || p.Flags&WasDoubted != 0 || p.Epoch != 0)
}

// OpenAtGate reports whether the payout is open, and may be a payment at its gate.
func (p *Payout) OpenAtGate() bool {
	return p.Host != "" && p.State.Open() && (p.State != StateNew || p.Bound())
}

// Cancellable reports whether a person may still give the payout up: nothing of
// it can have become a payment. Tries that the gate surely turned away do not
// matter.
func (p *Payout) Cancellable() bool {
	return p.State == StateNew && !p.Doubted && !p.Seen && !p.MayHaveLeft && p.Epoch == 0 && !p.OfAnother() && p.Flags&WasDoubted == 0
}

// FreesID reports whether the payout was given up, and nothing was ever reported under
// its id: a new row may have it.
func (p *Payout) FreesID() bool { return p.State == StateCancelled && !p.OfAnother() }

// Stuck reports whether the payout is open and nothing but a person can decide
// it, though no check is due: the gate ended it without success, or has the id
// for another and a person has seen that.
func (p *Payout) Stuck() bool {
	return p.State.Open() && !p.NeedsCheck() && (p.Flags&Ended != 0 || p.OfAnother())
}

// Version changes with whatever a person should know of who decides about the payout:
// its state, its attempts, its events, and when a gate last reported.
func (p *Payout) Version() uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, p.State, p.Attempt, p.AcceptedAttempt, p.Events, p.Dropped, p.Flags, p.Closed, p.Reported.Status, p.ReportedAt.UnixMicro())
	return h.Sum64() | 1
}

// Waiting reports whether the payout still waits for something that comes by
// itself: to be sent, for an answer, or for an outcome.
func (p *Payout) Waiting() bool { return p.State.Open() && !p.NeedsCheck() && !p.Stuck() }

// Open reports whether the payout still waits for something: to be sent, for
// an answer, or for an outcome.
func (p *Payout) Open() bool { return p.State.Open() }

// History is a payout with all its events, oldest event first.
type History struct {
	Payout
	Events []Event
}
