package batch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// canary keeps back all of a batch but its first payouts until these are paid. What it knows
// it reads from the store, so that it survives kills.
type canary struct {
	n      int // how many go first; 0: there is none, or they are paid
	begun  bool
	first  map[payout.Key]bool // of this batch, claimed by now
	looked time.Time
}

// claimed notes payouts that were claimed.
func (c *canary) claimed(some []store.Claimed) {
	if c.n == 0 {
		return
	}
	for i := range some {
		c.first[some[i].Key] = true
	}
}

// allow returns how many payouts may be claimed, of n that there is room for. It holds the
// batch when one of the first is not paid.
func (r *running) allow(ctx context.Context, n int) (int, error) {
	c := &r.canary
	if c.n == 0 {
		return n, nil
	}
	if !c.begun {
		if err := r.findFirst(ctx); err != nil {
			return 0, err
		}
		if c.n == 0 {
			return n, nil
		}
		if !c.begun {
			return 0, nil // the store was busy
		}
	}
	if free := c.n - len(c.first); free > 0 {
		return min(n, free), nil
	}
	if time.Since(c.looked) < lookEvery {
		return 0, nil
	}
	c.looked = time.Now()
	known, err := r.Store.Lookup(ctx, slices.Collect(keysOf(c.first)))
	if err != nil {
		return 0, unlessBusy(err)
	}
	free, paid := 0, 0
	var bad []string
	for key := range c.first {
		p := known[key]
		switch {
		case p == nil: // cancelled: it counts no more
			delete(c.first, key)
		case p.State == payout.StatePaid && !p.NeedsCheck():
			paid++
		case p.State == payout.StateNew && !p.NeedsCheck():
			free++ // it is free again, and is sent first
		case !p.State.Open() || p.NeedsCheck():
			bad = append(bad, fmt.Sprintf("%s is %s", p.Key.PaymentID, result.StateOf(*p)))
		}
	}
	switch {
	case len(bad) > 0:
		return 0, r.holdCanary(ctx, bad)
	case paid >= c.n:
		r.notify("the first %s are paid: the others follow", payout.FormatQuantity(c.n, "payout"))
		c.n = 0
		return n, nil
	}
	return min(n, free), nil
}

func keysOf(m map[payout.Key]bool) func(yield func(payout.Key) bool) {
	return func(yield func(payout.Key) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// findFirst finds what earlier runs have claimed of the batch. Nothing beyond the first is
// claimed before they are paid: where there is more, they were.
func (r *running) findFirst(ctx context.Context) error {
	c := &r.canary
	c.first = map[payout.Key]bool{}
	b, err := r.Store.Batch(ctx, r.batch)
	if err != nil {
		return unlessBusy(err)
	}
	begun := []payout.State{
		payout.StateSending, payout.StateUnknown, payout.StateAccepted, payout.StatePaid, payout.StatePartial, payout.StateDeclined, payout.StateRejected, payout.StateReturned,
	}
	for p, err := range r.Store.List(ctx, store.Filter{Batch: r.batch, States: begun}) {
		if err != nil {
			return unlessBusy(err)
		}
		if p.SentBy != b.Number || p.Attempt == 0 {
			continue // it was known before
		}
		if c.first[p.Key] = true; len(c.first) > c.n {
			c.n = 0
			return nil
		}
	}
	c.begun = true
	return nil
}

// holdCanary keeps the rest of the batch back, until a person lets it go.
func (r *running) holdCanary(ctx context.Context, bad []string) error {
	slices.Sort(bad)
	const shown = 3
	what := strings.Join(bad[:min(shown, len(bad))], ", ")
	if more := len(bad) - shown; more > 0 {
		what += " and " + payout.FormatNumber(more) + " more"
	}
	why := fmt.Sprintf("of the first %s %s not paid: %s (--canary)", payout.FormatQuantity(r.canary.n, "payout"), areOrIs(len(bad)), what)
	return unlessBusy(r.Store.Hold(ctx, r.batch, store.Hold{Kind: store.HeldByCanary, Reason: why, By: r.By, At: time.Now().UTC()}))
}

func areOrIs(n int) string {
	if n == 1 {
		return "1 is"
	}
	return payout.FormatNumber(n) + " are"
}
