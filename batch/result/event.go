package result

import (
	"fmt"
	"strings"

	"masspay/payout"
)

// DescribeEvent says in a sentence what happened.
func DescribeEvent(e payout.Event) string {
	switch e.Kind {
	case payout.Claimed:
		return fmt.Sprintf("attempt %d begins, to %s", e.Attempt, e.Host)
	case payout.Released:
		return fmt.Sprintf("attempt %d: nothing was sent", e.Attempt)
	case payout.Unsent:
		return fmt.Sprintf("attempt %d: not sent, or turned away before it was looked at", e.Attempt)
	case payout.Refused:
		return fmt.Sprintf("attempt %d: the gate refused it", e.Attempt)
	case payout.Doubtful:
		return fmt.Sprintf("attempt %d: no usable answer, in doubt", e.Attempt)
	case payout.Orphaned:
		return "the process that sent it ended before an answer was kept: in doubt"
	case payout.Accepted:
		return fmt.Sprintf("attempt %d: the gate accepted it", e.Attempt)
	case payout.Taken:
		return "the gate says that it has this payment_id already"
	case payout.Final:
		return "the gate reports an outcome: " + StateName(e.Outcome)
	case payout.Progress:
		return "the gate works on it"
	case payout.NotSeen:
		return "the gate does not know this payment_id"
	case payout.Silent:
		return "polled without a usable answer"
	case payout.Suspected:
		return "the store is a restored copy: the gate is asked before it is sent"
	case payout.Cancelled:
		return "cancelled"
	case payout.Irrelevant:
		return "the gate reports something about this id that is not a payout"
	case payout.Unlisted:
		return "the gate reports a status that a person must read"
	case payout.Lapsed:
		return "the gate ended it without success"
	case payout.Resolved:
		if e.Outcome == 0 {
			return "seen by a person"
		}
		return "resolved by a person: " + strings.ReplaceAll(StateName(e.Outcome), StateDeclined, "not paid")
	case payout.PollDue:
		return "a callback that can be read in two ways: the status is polled soon"
	}
	return e.Kind.String()
}
