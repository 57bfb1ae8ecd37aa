package batch

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// Canary sends the first payouts of a batch alone: the others are held until these are paid.
// The zero value does not.
type Canary struct {
	N     int    // how many go first
	token string // by which this run claims through the hold
}

// NewCanary is for a run; n 0 is none.
func NewCanary(n int) Canary {
	if n <= 0 {
		return Canary{}
	}
	return Canary{n, rand.Text()}
}

// Hold is what keeps a batch from everyone but this run; nil: nothing is to. A batch that is
// loaded with it is never open to others before its first payouts are paid.
func (c Canary) Hold(by string) *store.Hold {
	if c.N == 0 {
		return nil
	}
	why := fmt.Sprintf("its first %s must be paid before the others are sent (--canary)", payout.FormatQuantity(c.N, "payout"))
	return &store.Hold{Kind: store.HeldByCanary, Reason: why, By: by, At: time.Now().UTC(), Token: c.token}
}

// canary keeps back all of a batch but its first payouts until these are paid. What it knows
// it reads from the store, so that it survives kills; that no one else claims meanwhile is
// the store's hold.
type canary struct {
	Canary
	first  map[payout.Key]bool // of this batch, claimed by now
	paid   int                 // of them, when they were looked for
	looked time.Time
	failed bool
}

// beginCanary holds the batch for this run, unless that is over: where it is not held, and as
// many were paid, or more were claimed. What a person has let go and is not paid counts no
// more; others take its place. again says that this run had it before.
func (r *running) beginCanary(ctx context.Context, again bool) error {
	c := &r.canary
	if c.N == 0 {
		return nil
	}
	b, err := r.Store.Batch(ctx, r.batch)
	if err != nil {
		return err
	}
	letGo := !b.Held.Lasting() && !again
	if err := r.findFirst(ctx, b, letGo); err != nil {
		return err
	}
	switch held := b.Held; {
	case held.Lasting() && (held.Kind != store.HeldByCanary || held.Token == ""):
		return nil // by a person, or because one of the first was not paid
	case letGo && (len(c.first) > c.N || c.paid >= c.N):
		r.notify("payouts of this batch were sent before: --canary is for its first ones")
		c.N = 0
		return nil
	}
	// Also in the place of another run's, which may live, and claim until now.
	if err := r.Store.Hold(ctx, r.batch, *c.Hold(r.By)); err != nil {
		return err
	}
	return r.findFirst(ctx, b, letGo)
}

// endCanary lets a batch go of which nothing is left to be kept back.
func (r *running) endCanary(ctx context.Context) error {
	if r.canary.N == 0 {
		return nil
	}
	b, err := r.Store.Batch(ctx, r.batch)
	if err == nil && b.Held != nil && b.Held.Token == r.canary.token && b.Unsent() == 0 {
		_, err = r.Store.LetGo(ctx, r.batch, store.HeldByCanary)
	}
	return unlessBusy(err)
}

// findFirst finds what was claimed of the batch. letGo leaves out what was not paid, and will
// not be.
func (r *running) findFirst(ctx context.Context, b store.Batch, letGo bool) error {
	r.canary.first, r.canary.paid = map[payout.Key]bool{}, 0
	begun := []payout.State{
		payout.StateSending, payout.StateUnknown, payout.StateAccepted, payout.StatePaid, payout.StatePartial, payout.StateDeclined, payout.StateRejected, payout.StateReturned,
	}
	for p, err := range r.Store.List(ctx, store.Filter{Batch: b.ID, States: begun}) {
		if err != nil {
			return err
		}
		paid := p.State == payout.StatePaid && !p.NeedsCheck()
		bad := !paid && (!p.State.Open() || p.NeedsCheck())
		if p.SentBy != b.Number || p.Attempt == 0 || letGo && bad {
			continue // it was known before, or counts no more
		}
		r.canary.first[p.Key] = true
		if paid {
			r.canary.paid++
		}
	}
	return nil
}

// claimed notes payouts that were claimed.
func (c *canary) claimed(some []store.Claimed) {
	if c.N == 0 {
		return
	}
	for i := range some {
		c.first[some[i].Key] = true
	}
}

// allow returns how many payouts may be claimed, of n that there is room for. It holds the
// batch when one of the first is not paid, and lets it go when all are.
func (r *running) allow(ctx context.Context, n int) (int, error) {
	c := &r.canary
	switch {
	case c.N == 0:
		return n, nil
	case len(c.first) == 0:
		return min(n, c.N), nil
	}
	if time.Since(c.looked) < lookEvery {
		return 0, nil
	}
	c.looked = time.Now()
	known, err := r.Store.Lookup(ctx, slices.Collect(maps.Keys(c.first)))
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
			if !r.budget.isSpent(key) {
				free++ // it is sent again, before any other
			}
		case !p.State.Open() || p.NeedsCheck():
			bad = append(bad, fmt.Sprintf("%s is %s", p.Key.PaymentID, result.StateOf(*p)))
		}
	}
	switch {
	case len(bad) > 0:
		c.failed = true
		return 0, r.holdCanary(ctx, bad)
	case paid >= c.N && paid == len(c.first):
		b, err := r.Store.Batch(ctx, r.batch)
		if err == nil && b.Held != nil && b.Held.Token != c.token {
			return 0, nil // another run has taken it over, or a person holds it
		}
		if err == nil {
			_, err = r.Store.LetGo(ctx, r.batch, store.HeldByCanary)
		}
		if err != nil {
			return 0, unlessBusy(err)
		}
		r.notify("the first %s are paid: the others follow", payout.FormatQuantity(c.N, "payout"))
		c.N = 0
		return n, nil
	}
	return min(n, free+max(0, c.N-len(c.first))), nil
}

// holdCanary keeps the rest of the batch back from this run, too, until a person lets it go.
func (r *running) holdCanary(ctx context.Context, bad []string) error {
	slices.Sort(bad)
	const shown = 3
	what := strings.Join(bad[:min(shown, len(bad))], ", ")
	if more := len(bad) - shown; more > 0 {
		what += " and " + payout.FormatNumber(more) + " more"
	}
	why := fmt.Sprintf("of the first %s %s not paid: %s (--canary)", payout.FormatQuantity(r.canary.N, "payout"), areOrIs(len(bad)), what)
	return unlessBusy(r.Store.Hold(ctx, r.batch, store.Hold{Kind: store.HeldByCanary, Reason: why, By: r.By, At: time.Now().UTC()}))
}

func areOrIs(n int) string {
	if n == 1 {
		return "1 is"
	}
	return payout.FormatNumber(n) + " are"
}
