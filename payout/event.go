package payout

import (
	"fmt"
	"time"
)

// Kind says what happened to a payout.
type Kind uint8

// The kinds of event. The first group is about one attempt and carries its
// number; the second is the gate's word about the id, whoever asked.
const (
	Claimed    Kind = iota + 1 // a process took the payout to send it; durable before the request
	Released                   // the claim was given back with nothing sent
	Unsent                     // the attempt surely did not become a payment
	Refused                    // the gate refused this row, as documented
	Doubtful                   // no answer, or none that can be relied on
	Orphaned                   // the process that held the claim is dead
	Accepted                   // the gate accepted the attempt
	Taken                      // the gate says that it has this id already (3041)
	Verdict                    // the gate's final word; Event.Outcome is the state
	Progress                   // the gate knows the payout and has not decided
	NotSeen                    // HTTP 200 with 3061: the gate never saw the id
	Silent                     // a question brought no usable answer
	Suspected                  // the store is a restored copy; the gate must be asked before sending
	Cancelled                  // a person gave it up
	Irrelevant                 // a signed word about the id that is not about a payout
)

var kindNames = [...]string{
	Claimed: "claimed", Released: "released", Unsent: "unsent", Refused: "refused", Doubtful: "doubtful",
	Orphaned: "orphaned", Accepted: "accepted", Taken: "taken", Verdict: "verdict", Progress: "progress",
	NotSeen: "not seen", Silent: "silent", Suspected: "suspected", Cancelled: "cancelled", Irrelevant: "irrelevant",
}

// Kinds lists every kind.
var Kinds = []Kind{
	Claimed, Released, Unsent, Refused, Doubtful, Orphaned, Accepted, Taken,
	Verdict, Progress, NotSeen, Silent, Suspected, Cancelled, Irrelevant,
}

func (k Kind) String() string {
	if k.Valid() {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Valid reports whether k is one of Kinds.
func (k Kind) Valid() bool { return k >= Claimed && k <= Irrelevant }

// Source says where an event comes from.
type Source uint8

// The sources.
const (
	FromRun      Source = iota + 1 // the attempt itself
	FromCallback                   // a verified callback
	FromStatus                     // the answer to a status question
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
	Tick    Tick      // when an attempt ended, a dead owner was found, or a question was put that brought NotSeen
	Applied Tick      // of NotSeen: when the store applied it; the store sets it
	Attempt int       // the attempt that a FromRun event is about; 0 elsewhere
	Tries   int       // payout requests made since the claim
	Owner   uint64    // of a Claimed event
	Batch   uint32    // of a Claimed event: the batch that it is claimed for
	Host    string    // gate host that was asked
	Epoch   uint64    // of a Suspected event
	Since   time.Time // of a Suspected event: the lost store sent nothing before that is not known here
	Outcome State     // of a Verdict
	Ours    bool      // of a gate's word: shown to be about this row, not another's use of the id
	Theirs  bool      // of a gate's word: shown to be about another's use of the id
	Maybe   bool      // of a gate's word: not to be taken if the payment is in question; see Payout.InQuestion

	Status    string // the gate's own word, as it came
	Code      string
	Message   string
	Amount    Amount // what the gate says, zero when it does not say
	Operation string
	Provider  string
	Request   string
}
