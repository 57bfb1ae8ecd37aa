package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"masspay/payout"
	"masspay/store"
)

// A gate that has never answered as a gate does may be none: an address with a slip
// in it, somebody else's server, a login page. Until it has, one request is under way
// at a time over all processes of the store, and the first answer that is not a gate's
// ends the run, so that a wrong address puts one row in doubt, not a file.

// probe claims and sends one payout, alone. It returns when its answer is recorded.
func (r *running) probe(ctx context.Context) (err error) {
	identity := r.Gate.Identity()
	release, err := patiently(ctx, r.Notify, r.Store.Probe)
	if err != nil {
		return err
	}
	held := true
	letGo := func() error {
		if !held {
			return nil
		}
		held = false
		return release()
	}
	defer func() { err = errors.Join(err, letGo()) }()
	proven, err := r.Store.Proven(ctx, identity)
	if err != nil || proven {
		r.proven.Store(proven)
		return err
	}
	claimed, err := r.take(ctx, 1)
	if err != nil {
		return err
	}
	if len(claimed) == 0 {
		r.idle.Store(true)
		signal(r.rests)
		if err := letGo(); err != nil {
			return err
		}
		await(ctx, r.wake, recheck)
		return nil
	}
	r.idle.Store(false)
	r.inFlight.Add(1)
	r.waiting.Add(1)
	e, a := r.send(ctx, claimed[0])
	switch {
	case a.Proven:
		r.proven.Store(true)
	case a.Sent && a.Retry == 0:
		answer := a.Message
		if a.HTTPStatus > 0 {
			answer = fmt.Sprintf("HTTP %d, code %s: %s", a.HTTPStatus, orNone(a.Code), a.Message)
		}
		r.halt(&r.out.Refused, notAGate(identity, answer)+"; sending stopped after this one request")
		r.ended.Store(true)
	}
	err = r.applyAll(context.WithoutCancel(ctx), []payout.Event{e})
	if err == nil && a.Proven {
		err = r.Store.Prove(context.WithoutCancel(ctx), identity)
	}
	if r.inFlight.Add(-1) == 0 {
		signal(r.rests)
	}
	return err
}

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
			counted(n, "payout"), strings.Join(r.elsewhere.gates, ", "))
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

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return payout.Count(n) + " " + what + "s"
}

// reconcileElsewhere polls other gates about what was sent there, as it comes due.
func (r *running) reconcileElsewhere(ctx context.Context, gates []string) error {
	q := r.reconciler()
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
			if there == nil {
				var err error
				if there, err = q.at(other); err != nil {
					continue
				}
				there.Workers = 1
				at[other] = there
			}
			if err := r.pollDue(ctx, there, other); err != nil {
				return unlessDone(ctx, err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// pollDue polls one other gate about what is due, a few payouts at a time.
func (r *running) pollDue(ctx context.Context, q *Reconciler, identity string) error {
	const few = 8
	var due []payout.Record
	for rec, err := range r.Store.List(ctx, store.Filter{Batch: r.batch, DueBy: time.Now(), Limit: few, Gate: identity}) {
		if errors.Is(err, store.ErrBusy) {
			return nil
		}
		if err != nil {
			return err
		}
		due = append(due, rec)
	}
	a, err := q.ask(ctx, due)
	r.asked.Add(int64(a.Asked))
	return err
}
