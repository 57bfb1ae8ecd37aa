package payout

import (
	"fmt"
	"time"
)

// Kind says what happened to a payout.
type Kind uint8

// The kinds of event. The first group is about one attempt and carries its
// number; the second is what the gate reports about the id, whoever asked.
const (
	Claimed    Kind = iota + 1 // a process took the payout to send it; durable before the request
	Released                   // the claim was given back with nothing sent
	Unsent                     // the attempt did not become a payment
	Refused                    // the gate refused this row, as documented
	Doubtful                   // no answer, or none that can be relied on
	Orphaned                   // the process that held the claim is dead
	Accepted                   // the gate accepted the attempt
	Taken                      // the gate says that it has this id already (3041)
	Final                      // the outcome, as the gate reported it; Event.Outcome is the state
	Progress                   // the gate knows the payout and has not decided
	NotSeen                    // HTTP 200 with 3061: the gate never saw the id
	Silent                     // a question brought no usable answer
	Suspected                  // the store is a restored copy; the gate must be asked before sending
	Cancelled                  // a person gave it up
	Irrelevant                 // a signed report about the id that is not about a payout
	Unlisted                   // a status that reverses a payment, or is in no list: for a person
	Lapsed                     // the gate ended the payment without success, with a status that is no refusal (expired, canceled)
	Resolved                   // a person decided: Outcome is the state, 0 that the person has seen a check
	PollDue                    // a signed body that can be read in two ways: ask for the status now
)

var kindNames = [...]string{
	Claimed: "claimed", Released: "released", Unsent: "unsent", Refused: "refused", Doubtful: "doubtful",
	Orphaned: "orphaned", Accepted: "accepted", Taken: "taken", Final: "outcome", Progress: "progress",
	NotSeen: "not seen", Silent: "silent", Suspected: "suspected", Cancelled: "cancelled", Irrelevant: "irrelevant",
	Unlisted: "unlisted", Lapsed: "lapsed", Resolved: "resolved", PollDue: "poll due",
}

// Kinds lists every kind.
var Kinds = []Kind{
	Claimed, Released, Unsent, Refused, Doubtful, Orphaned, Accepted, Taken,
	Final, Progress, NotSeen, Silent, Suspected, Cancelled, Irrelevant,
	Unlisted, Lapsed, Resolved, PollDue,
}

func (k Kind) String() string {
	if k.Valid() {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Valid reports whether k is one of Kinds.
func (k Kind) Valid() bool { return k >= Claimed && k <= PollDue }

// Source says where an event comes from.
type Source uint8

// The sources.
const (
	FromRun      Source = iota + 1 // the attempt itself
	FromCallback                   // a verified callback
	FromStatus                     // the answer to a poll
	FromPerson                     // a command that a person gave
	FromStore                      // found by the store, as a dead owner
)

var sourceNames = [...]string{
	FromRun: "run", FromCallback: "callback", FromStatus: "status", FromPerson: "person", FromStore: "store",
}

func (s Source) String() string {
	if s >= FromRun && s <= FromStore {
		return sourceNames[s]
	}
	return fmt.Sprintf("source(%d)", uint8(s))
}

// Event is one thing that happened to a payout. Events are kept for ever, so
// they hold no personal data and no secret.
type Event struct {
	Key     Key
	Number  uint64 // of the payout, where it is known: finds it faster; 0: by Key alone. Not kept
	Kind    Kind
	Source  Source
	At      time.Time
	Tick    Tick          // when an attempt ended, a dead owner was found, or a question was put that brought NotSeen
	Applied Tick          // of NotSeen: when the store applied it; the store sets it
	Attempt int           // the attempt that a FromRun event is about; 0 elsewhere
	Tries   int           // payout requests made since the claim
	Took    time.Duration // how long the last request took until its answer, or its end without one; 0: not known. Not kept
	Owner   uint64        // of a Claimed event
	Batch   uint32        // of a Claimed event: the batch that it is claimed for
	Host    string        // gate host that was asked
	Epoch   uint64        // of a Suspected event
	Since   time.Time     // of a Suspected event: the lost store sent nothing before that is not known here
	Outcome State         // of a Final
	Match   Match         // of a report: what comparing it with the row told; the store sets it
	Field   string        // of a report: the field that decided, see MatchPayment
	Bar     Bar           // of an Orphaned event: why the payout must not be freed for now
	Lifted  bool          // of NotSeen: what barred the payout is gone; the store sets it
	Run     uint64        // number of the run that brought it, in the store; 0: not known. The store sets it
	Person  string        // of Cancelled and Resolved: who, as user@host
	Reason  string        // of Resolved: as the person gave it
	Version uint64        // of Resolved: that of the payout which the person looked at; 0: not compared. Not kept

	Reported // what the gate says; only a report's and an answer's

	Conflict   bool        // it contradicted what was known; the store sets it
	Made       time.Time   // when the gate made the payment, zero when it does not say
	Operations []Operation // successful payout operations that a report names

	// To compare with the row, and never kept in the clear: a customer.id and an
	// account.number, empty where the report has none.
	Customer, Account string
}

// Operation is a successful operation of type payout that the gate reports. A
// payment may have several: it can be split.
type Operation struct {
	ID       string
	Provider string // payment id at the provider
	Made     time.Time
	Amount   Amount // zero when it does not say
}

// Report reports whether the event is a gate's report about a payment, in a
// callback or in a status answer: what must be compared before it is believed.
func (e Event) Report() bool {
	if e.Source != FromCallback && e.Source != FromStatus {
		return false
	}
	switch e.Kind {
	case Taken, Final, Progress, Unlisted, Lapsed:
		return true
	}
	return false
}

// Bar keeps a payout from being freed: the process that sent it vanished without
// proof of its death. It is lifted when the machine was restarted, when the
// store's epoch has moved, or by a person. The zero value bars nothing.
type Bar struct {
	Boot    uint64 // of the machine that the process ran on
	Machine uint64
	Epoch   uint64 // the store's generation when it was barred
}

// Lifted reports whether a bar is gone, as a store of some epoch sees it on a
// machine and its boot. Zero values are unknown and lift nothing.
func (b Bar) Lifted(boot, machine, epoch uint64) bool {
	return epoch > b.Epoch || boot != 0 && b.Boot != 0 && machine != 0 && machine == b.Machine && boot != b.Boot
}
