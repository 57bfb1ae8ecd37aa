package payout

import "fmt"

// State is where a payout is in its life. Only Next changes it.
type State uint8

// The states. Each comment says who leaves the state and how a payout can get
// stuck in it.
const (
	// StateNew waits to be sent: no attempt of it can have become a payment.
	// A run claims it and cancel gives it up; the gate's report wins over both.
	// Stuck: only while no one runs its batch.
	StateNew State = iota + 1

	// StateSending is claimed by a living process that may be sending it at
	// this instant. The process's own answer leaves it, a callback may
	// overtake that. Stuck: when the process dies; whoever finds its lock free
	// makes the payout Unknown.
	StateSending

	// StateUnknown may or may not have become a payment: an attempt ended in
	// doubt. Only a report of the gate leaves it, by callback or by status answer;
	// "never seen", said twice with the quiet period between, leads back to
	// New. Stuck: while the gate cannot be asked, or says neither.
	StateUnknown

	// StateAccepted is known to the gate, which has not decided. An outcome
	// leaves it. Stuck: while callbacks are lost and no one asks, or while a
	// person must clarify something with the platform.
	StateAccepted

	// StatePaid is final: the money arrived. Only Returned may follow.
	StatePaid

	// StatePartial is final: the payout was split and only part of it
	// arrived. Only Returned may follow.
	StatePartial

	// StateDeclined is final: refused by the platform or the provider after
	// it was accepted. The id is used up; nothing leaves this state.
	StateDeclined

	// StateRejected is final: failed the gate's validation, before or after
	// the answer. masspay does not use the id again; nothing leaves this state.
	StateRejected

	// StateReturned is final: the money came back after it had arrived.
	// Nothing leaves this state.
	StateReturned

	// StateCancelled is final: a person gave it up before it was ever
	// attempted. Only a report of the gate leaves it (another used the id).
	// Another file may bring the id again, as a payout of its own.
	StateCancelled
)

// States lists every state, in the order of a payout's life.
var States = []State{
	StateNew, StateSending, StateUnknown, StateAccepted,
	StatePaid, StatePartial, StateDeclined, StateRejected, StateReturned, StateCancelled,
}

var stateNames = [...]string{
	StateNew: "new", StateSending: "sending", StateUnknown: "unknown", StateAccepted: "accepted",
	StatePaid: "paid", StatePartial: "partial", StateDeclined: "declined", StateRejected: "rejected",
	StateReturned: "returned", StateCancelled: "cancelled",
}

func (s State) String() string {
	if s.Valid() {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Valid reports whether s is one of States.
func (s State) Valid() bool { return s >= StateNew && s <= StateCancelled }

// Open reports whether something may still become of the payout without a
// person's doing.
func (s State) Open() bool { return s >= StateNew && s <= StateAccepted }

// Final reports whether the payout has its outcome.
func (s State) Final() bool { return s >= StatePaid && s <= StateCancelled }
