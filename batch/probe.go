package batch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
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
	var next []payout.History
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
		r.halt(&r.out.Refused, fmt.Sprintf("the gate refuses the project or its secret (HTTP %d, code %s: %s); no payout was sent to it", said.HTTPStatus, said.Code, said.Message))
		r.state.end()
		return true, r.Store.Prove(context.WithoutCancel(ctx), identity)
	case Proves(err):
		r.state.prove(true)
		return true, r.Store.Prove(context.WithoutCancel(ctx), identity)
	case !notAnswered(ctx, err):
		r.halt(&r.out.Refused, notAGate(identity, err.Error())+"; no payout was sent to it")
		r.state.end()
		return true, nil
	case ctx.Err() != nil:
		return true, nil
	case !errors.Is(err, gate.ErrUnreached):
		return false, nil // it wants fewer requests, as it may with the payout
	default:
		r.state.lost(err.Error())
		if r.pings++; r.pings >= r.Attempts {
			r.state.halt()
			r.state.end()
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
		r.state.prove(proven)
		return err
	}
	// A store that may not send has no gate to ask: a copy, say.
	if _, err := r.take(ctx, 0); err != nil || r.state.isHalted() {
		return err
	}
	if done, err := r.pinged(ctx); err != nil || done {
		return err
	}
	claimed, err := r.take(ctx, 1)
	if err != nil {
		return err
	}
	if r.state.took(len(claimed)); len(claimed) == 0 {
		if letGo() != nil {
			return nil // the deferred call tells
		}
		await(ctx, r.state.freed, recheck)
		return nil
	}
	e, a := r.send(ctx, &claimed[0])
	switch {
	case a.Proven:
		r.state.prove(true)
	case a.Sent && a.Retry == 0:
		r.halt(&r.out.Refused, notAGate(identity, answerText(a))+"; sending stopped after this one request")
		r.state.end()
	}
	changes, err := patientStore{r}.Apply(context.WithoutCancel(ctx), e)
	if err == nil {
		r.learned(&e, &changes[0])
	}
	if err == nil && a.Proven {
		err = r.Store.Prove(context.WithoutCancel(ctx), identity)
	}
	r.state.recorded()
	return err
}
