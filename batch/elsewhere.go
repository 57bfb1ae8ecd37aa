package batch

import (
	"context"
	"slices"
	"strings"
	"time"

	"masspay/payout"
	"masspay/store"
)

// elsewhere counts the payouts of a batch that may be payments at another gate: they
// are never sent to this one, polled where they were sent, and not waited for.
type elsewhere struct {
	at     time.Time // when they were counted
	open   int       // waiting, whatever for
	unsent int       // of those, waiting to be sent
	gates  []string
}

// findElsewhere looks through the batch as a run begins, if the store knows of another
// gate at all, and says what it found.
func (r *running) findElsewhere(ctx context.Context) error {
	others, err := r.reconciler().otherGates(ctx)
	if err != nil || len(others) == 0 {
		return err
	}
	if err := r.countElsewhere(ctx); err != nil {
		return err
	}
	if n := r.elsewhere.open; n > 0 {
		r.notify("%s of this batch may be payments at another gate (%s): not sent to this one, polled there, not waited for",
			payout.FormatQuantity(n, "payout"), strings.Join(r.elsewhere.gates, ", "))
	}
	return nil
}

func (r *running) countElsewhere(ctx context.Context) error {
	now := elsewhere{at: time.Now()}
	rules := payout.Rules{Aliases: r.Aliases}
	f := store.Filter{Batch: r.batch, Gate: r.Gate.Identity(), Others: true}
	f.States = []payout.State{payout.StateNew, payout.StateSending, payout.StateUnknown, payout.StateAccepted}
	for p, err := range r.Store.List(ctx, f) {
		if err != nil {
			return err
		}
		if !p.Waiting() || p.State == payout.StateNew && p.Claimable(rules, r.Gate.Identity()) {
			continue
		}
		now.open++
		if p.State == payout.StateNew {
			now.unsent++
		}
		if !slices.Contains(now.gates, p.Host) {
			now.gates = append(now.gates, p.Host)
		}
	}
	slices.Sort(now.gates)
	r.elsewhere = now
	return nil
}

// reconcileElsewhere polls other gates about what was sent there, as it comes due.
func (r *running) reconcileElsewhere(ctx context.Context, gates []string) error {
	q := r.reconciler()
	refused := map[string]bool{} // what says that it will answer nothing is not asked again
	at := map[string]*Reconciler{}
	defer func() {
		for _, q := range at {
			q.Gate.Close()
		}
	}()
	tick := time.NewTicker(max(r.StatusAfter/2, time.Second))
	defer tick.Stop()
	for {
		for _, other := range gates {
			there := at[other]
			if refused[other] {
				continue
			}
			if there == nil {
				var err error
				if there, err = q.at(other); err != nil {
					continue
				}
				there.Workers = 1
				at[other] = there
			}
			a, err := r.pollOther(ctx, there, other)
			if err != nil {
				return unlessDone(ctx, err)
			}
			if refused[other] = a.Refused != ""; refused[other] {
				r.notify("%s; what was sent there is not polled by this run any more", a.Refused)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// pollOther polls one other gate about what is due, a few payouts at a time.
func (r *running) pollOther(ctx context.Context, q *Reconciler, identity string) (Polled, error) {
	const few = 8
	due, err := r.Store.Due(ctx, store.Due{Batch: r.batch, Gate: identity, N: few, Lease: r.lease()})
	if err != nil {
		return Polled{}, unlessBusy(err)
	}
	a, err := q.pollSome(ctx, due)
	r.state.polls(a.Answered)
	return a, err
}
