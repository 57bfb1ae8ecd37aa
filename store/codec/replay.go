package codec

import (
	"time"

	"masspay/payout"
)

// Replay applies a payout's events to what it was when it was new: they must lead to what
// it is. It returns how many there are and, where they lead to something else, to which
// state. What was written by other rules, or is not whole, is not replayed.
func (r *Record) Replay() (events int, led payout.State, err error) {
	all, err := r.History()
	if err != nil || r.Old {
		return len(all), 0, err
	}
	p := payout.New(r.Key, r.Method, r.Amount)
	// Only events that changed something are kept, so that of two reports "not seen" the
	// second is the one that freed it, whatever the periods were, and that all gates were
	// one, whatever was declared then.
	rules := payout.Rules{StatusAfter: time.Nanosecond, QuietPeriod: time.Nanosecond}
	for _, e := range all {
		rules.Aliases = append(rules.Aliases, e.Host)
	}
	for _, e := range all {
		p, _ = payout.Next(rules, p, e)
	}
	if essenceOf(p) != essenceOf(r.Payout) {
		return len(all), p.State, nil
	}
	return len(all), 0, nil
}

// essence is what a replay must come to.
type essence struct {
	state                                payout.State
	attempt, tries, accepted             int
	owner                                uint64
	doubted, seen, unproven, mayHaveLeft bool
	flags, closed                        payout.Flags
	bar                                  payout.Bar
	resolved                             payout.State
}

func essenceOf(p payout.Payout) essence {
	return essence{
		p.State, p.Attempt, p.Tries, p.AcceptedAttempt, p.Owner, p.Doubted, p.Seen, p.Unproven, p.MayHaveLeft,
		p.Flags, p.Closed, p.Bar, p.Resolution.As,
	}
}
