package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"masspay/batch/result"
	"masspay/gate"
	"masspay/payout"
	"masspay/store"

	"golang.org/x/sync/errgroup"
)

// pollGroup is how many answers share one commit.
const pollGroup = 64

// pollSome polls about each record and writes what came back. A gate that is not proven is
// polled about one payout first, alone over all processes of the store.
func (q *Reconciler) pollSome(ctx context.Context, records []payout.History) (sum Polled, err error) {
	if len(records) == 0 {
		return sum, nil
	}
	proven, err := q.Store.Proven(ctx, q.Gate.Identity())
	if err != nil {
		return sum, err
	}
	goesOn := func() bool { return len(records) > 0 && sum.Refused == "" && sum.Paused.IsZero() && ctx.Err() == nil }
	for !proven && goesOn() {
		var a Polled
		if a, proven, err = q.pollAlone(ctx, records[0]); err != nil {
			return sum, err
		}
		sum.add(a)
		records = records[1:]
	}
	if !goesOn() {
		return sum, err
	}
	a, _, err := q.pollTogether(ctx, records)
	sum.add(a)
	return sum, err
}

// pollAlone polls a gate that is not proven, while no other process has a request under
// way to it. An answer that is not a gate's ends the polling.
func (q *Reconciler) pollAlone(ctx context.Context, rec payout.History) (sum Polled, proven bool, err error) {
	gateID := q.Gate.Identity()
	release, err := patiently(ctx, q.Notify, q.Store.Probe)
	if err != nil {
		return sum, false, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if proven, err = q.Store.Proven(ctx, gateID); err != nil || proven {
		if err == nil {
			sum, _, err = q.pollTogether(ctx, []payout.History{rec})
		}
		return sum, proven, err
	}
	sum, polls, err := q.pollTogether(ctx, []payout.History{rec})
	if err != nil || len(polls) == 0 {
		return sum, false, err
	}
	switch p := polls[0]; {
	case p.proves:
		return sum, true, q.Store.Prove(context.WithoutCancel(ctx), gateID)
	case p.alien != "" && sum.Refused == "":
		sum.Refused = notAGate(gateID, p.alien)
	}
	return sum, false, nil
}

// notAGate says that an address answers, and not as a gate does.
func notAGate(identity, answer string) string {
	return fmt.Sprintf("%s does not answer as a Gate API, and never has (%s): check gate.base_url", identity, answer)
}

// poll is what came of one status request.
type poll struct {
	event     payout.Event // of kind 0: nothing was asked, because requests are paused or the context ended
	refused   string       // why the gate refuses to answer this configuration at all
	paused    time.Time    // until when requests are paused
	proves    bool         // only a gate answers so
	unreached bool         // no connection was had
	alien     string       // what came back instead of a gate's answer, but for a 429 and a dial that failed
}

// pollTogether polls about several payouts side by side.
func (q *Reconciler) pollTogether(ctx context.Context, records []payout.History) (sum Polled, polls []poll, err error) {
	polls = make([]poll, len(records))
	var g errgroup.Group
	g.SetLimit(max(q.Workers, 1))
	for i, rec := range records {
		g.Go(func() error {
			polls[i] = q.poll(ctx, rec.Payout)
			return nil
		})
	}
	_ = g.Wait() // polls return no errors, they are events
	var events []payout.Event
	for _, p := range polls {
		if p.event.Kind != 0 {
			events = append(events, p.event)
		}
		if sum.Refused == "" {
			sum.Refused = p.refused
		}
		if p.paused.After(sum.Paused) {
			sum.Paused = p.paused
		}
	}
	sum.Answered = len(events)
	changes, err := patiently(context.WithoutCancel(ctx), q.Notify, func(ctx context.Context) ([]store.Change, error) {
		return q.Store.Apply(ctx, events...)
	})
	for _, c := range changes {
		if c.Effect == payout.Changed || c.Effect == payout.Conflicting {
			sum.Changed++
			sum.became(result.StateOf(c.After), 1)
			for _, at := range c.After.Places {
				sum.changed(map[uint32]bool{at.Batch: true})
			}
		}
		if c.Freed() {
			sum.Freed++
		}
	}
	return sum, polls, err
}

// poll asks for the status of one payout.
func (q *Reconciler) poll(ctx context.Context, p payout.Payout) (out poll) {
	// What the gate does not know, it did not know when it was asked; by the time
	// of the answer it may.
	asked := q.Store.Tick()
	identity := q.Gate.Identity()
	n, err := q.Gate.Status(ctx, p.Key, q.Timeout)
	e := payout.Event{Key: p.Key, Source: payout.FromStatus, At: time.Now(), Tick: asked, Host: identity, Kind: payout.Silent}
	var paused gate.Paused
	var said *gate.Error
	switch {
	case err == nil:
		e = n.Event(payout.FromStatus, identity, e.At)
		out.proves = true
	case errors.Is(err, gate.ErrNotSeen):
		e.Kind, e.Code = payout.NotSeen, gate.CodeNotFound
		out.proves = true
	case errors.As(err, &paused):
		out.paused = paused.PausedUntil()
		return out
	case ctx.Err() != nil:
		return out
	case errors.As(err, &said):
		e.Code, e.Message = said.Code, said.Message
		if said.Stop {
			out.refused = said.Error()
		}
		if out.proves = said.Documented; !out.proves && said.RetryAfter == 0 {
			out.alien = said.Error()
		}
	case errors.Is(err, gate.ErrUnreached):
		e.Message = err.Error()
		out.unreached = true
	default:
		e.Message = err.Error()
		out.alien = e.Message
	}
	e.Number, e.Took = p.Number, n.Took
	out.event = e
	return out
}
