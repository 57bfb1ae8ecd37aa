package batch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// A gate that has never answered as a gate does may be none: an address with a slip
// in it, another server, a login page. Until it has, one request is under way
// at a time over all processes of the store, and the first answer that is not a gate's
// ends the run. The first request asks about a payment that cannot exist, so that a
// wrong address puts no row in doubt; a payout is sent only where that says nothing.

// Ping asks a gate for the status of a payment that cannot exist. It moves no money. Its
// error is that of gate.Client.Status; Proves and notAnswered read it.
func Ping(ctx context.Context, c *gate.Client, project uint32, patience time.Duration) error {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, by its contract
	_, err := c.Status(ctx, payout.Key{ProjectID: project, PaymentID: "masspay-ping-" + hex.EncodeToString(id[:])}, patience)
	return err
}

// Proves reports whether only a gate answers a status request so.
func Proves(err error) bool {
	var said *gate.Error
	return err == nil || errors.Is(err, gate.ErrNotSeen) || errors.As(err, &said) && said.Documented
}

// notAnswered reports whether a status request got no answer at all, so that nothing is
// known of who is there: it did not leave, or was turned away with a 429.
func notAnswered(ctx context.Context, err error) bool {
	var said *gate.Error
	var paused gate.Paused
	return ctx.Err() != nil || errors.As(err, &paused) || errors.Is(err, gate.ErrUnreached) || errors.As(err, &said) && said.RetryAfter > 0
}

// pinged pings the gate before the first payout is sent to it; done says that the
// probing is over, or that it must begin again.
func (r *running) pinged(ctx context.Context) (done bool, err error) {
	var next []payout.Record
	f := store.Filter{Batch: r.batch, States: []payout.State{payout.StateNew}, Limit: 1}
	for rec, err := range r.Store.List(ctx, f) {
		if err != nil {
			return false, err
		}
		next = append(next, rec)
	}
	if len(next) == 0 {
		return false, nil
	}
	identity := r.Gate.Identity()
	var said *gate.Error
	switch err := Ping(ctx, r.Gate, next[0].Key.ProjectID, r.Timeout); {
	case errors.As(err, &said) && said.Documented && said.Code == gate.CodeSignature:
		// It is a gate, and no payout would fare better.
		r.halt(&r.out.Refused, fmt.Sprintf("the gate refuses the configuration (HTTP %d, code %s: %s); no payout was sent to it", said.HTTPStatus, said.Code, said.Message))
		r.ended.Store(true)
		return true, r.Store.Prove(context.WithoutCancel(ctx), identity)
	case Proves(err):
		r.proven.Store(true)
		return true, r.Store.Prove(context.WithoutCancel(ctx), identity)
	case !notAnswered(ctx, err):
		r.halt(&r.out.Refused, notAGate(identity, err.Error())+"; no payout was sent to it")
		r.ended.Store(true)
		return true, nil
	case ctx.Err() != nil:
		return true, nil
	case !errors.Is(err, gate.ErrUnreached):
		return false, nil // it wants fewer requests, as it may with the payout
	default:
		text := err.Error()
		r.unreached.Store(&text)
		if r.pings++; r.pings >= r.Attempts {
			r.halted.Store(true)
			r.ended.Store(true)
			return true, nil
		}
		sleep(ctx, time.Duration(r.pings)*pingAgain)
		return true, nil
	}
}

// pingAgain is how long a run waits before it tries to reach a gate that it has never
// reached, times the tries that it has made.
const pingAgain = 300 * time.Millisecond

// probe asks the gate whether it is one and, where that says nothing, claims and sends
// one payout, alone. It returns when the answer is recorded.
func (r *running) probe(ctx context.Context) (err error) {
	identity := r.Gate.Identity()
	release, err := patiently(ctx, r.Notify, r.Store.Probe)
	if err != nil {
		return err
	}
	letGo := sync.OnceValue(release)
	defer func() { err = errors.Join(err, letGo()) }()
	proven, err := r.Store.Proven(ctx, identity)
	if err != nil || proven {
		r.proven.Store(proven)
		return err
	}
	// A store that may not send has no gate to ask: a copy, say.
	if _, err := r.take(ctx, 0); err != nil {
		return err
	}
	if done, err := r.pinged(ctx); err != nil || done {
		return err
	}
	claimed, err := r.take(ctx, 1)
	if err != nil {
		return err
	}
	if len(claimed) == 0 {
		r.idle.Store(true)
		signal(r.rests)
		if letGo() != nil {
			return nil // the deferred call tells
		}
		await(ctx, r.wake, recheck)
		return nil
	}
	r.idle.Store(false)
	r.inFlight.Add(1)
	r.waiting.Add(1)
	e, a := r.send(ctx, &claimed[0])
	switch {
	case a.Proven:
		r.proven.Store(true)
	case a.Sent && a.Retry == 0:
		r.halt(&r.out.Refused, notAGate(identity, saidBy(a))+"; sending stopped after this one request")
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
			a, err := r.pollDue(ctx, there, other)
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

// pollDue polls one other gate about what is due, a few payouts at a time.
func (r *running) pollDue(ctx context.Context, q *Reconciler, identity string) (Answers, error) {
	const few = 8
	var due []payout.Record
	for rec, err := range r.Store.List(ctx, store.Filter{Batch: r.batch, DueBy: time.Now(), Limit: few, Gate: identity}) {
		if errors.Is(err, store.ErrBusy) {
			return Answers{}, nil
		}
		if err != nil {
			return Answers{}, err
		}
		due = append(due, rec)
	}
	a, err := q.ask(ctx, due)
	r.asked.Add(int64(a.Asked))
	return a, err
}
