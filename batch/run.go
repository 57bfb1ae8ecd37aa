// Package batch is the engine: it claims what a batch has to send, sends each payout once,
// records what came back, polls what stays silent, and lets people find, cancel and
// resolve. It decides what is sent when; what a payout's state is, only payout.Next
// decides, and what is remembered is the store's.
package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"masspay/batch/result"
	"masspay/gate"
	"masspay/store"
)

// Runner sends a batch and learns what became of it.
type Runner struct {
	Store store.Store
	Gate  *gate.Client

	Rate        float64       // requests per second, to size claims by
	Workers     int           // requests at once
	Timeout     time.Duration // of one request; also the longest wait for a slot with a claim in hand
	Attempts    int           // attempts of a payout in one run that were not sent
	MaxRefusals int           // identical failures in a row that stop the run, and hold its batch
	StatusAfter time.Duration // how long to wait for a callback before polling the status
	Wait        time.Duration // for outcomes, from the last send; 0: neither wait nor poll
	AskFirst    bool          // the store is a restored copy: ask about each payout before sending it
	Aliases     []string      // identities of gates that are one platform; see payout.Rules
	By          string        // who runs it, as user@host
	Until       time.Time     // when sending ends; zero: never
	Canary      Canary        // how many payouts of a batch must be paid before the others are sent
	Breaker     Breaker       // when so much goes wrong that a person must look
	Since       *Verdicts     // from where on the breaker counts; nil: from this run on
	KeepHold    bool          // what stopped an earlier run stops this one, too: a person begins a run, and no person a turn

	// Others makes a client for another gate, by its identity, to poll what was sent
	// there. nil, or an error: that is not polled by this run.
	Others func(identity string) (*gate.Client, error)

	Notify  func(text string) // something that a person should hear of now; may be nil
	Stopped func()            // once, when nothing more is sent for a reason; may be nil
}

// Ending is how a run ended. Whatever it says, the store knows the state of
// every payout.
type Ending struct {
	Sent   int          // payout requests that may have left this machine
	Now    *result.Sent // the payouts that they were for
	Polled int          // polls

	Refused      string // why the gate refuses the configuration, or is none; sending stopped
	Fenced       string // why this process may send nothing more; sending stopped
	Elsewhere    int    // payouts of the batch that may be payments at another gate, and are only polled there
	ElsewhereNew int    // of those, the ones that wait to be sent there again
	NoMoney      string // the account's balance did not cover a payout; sending stopped
	SameFailures string // so many identical failures in a row; sending stopped
	GivenUp      int    // payouts that were turned away as often as a run allows
	Held         string // the batch is held, by another run or by a person; sending stopped
	Late         string // sending was to end by now
	Unreached    string // why the gate could not be reached, the last time that it could not
	Interrupted  bool   // the context ended before the work did
}

// Run sends what was not sent yet and, unless Wait is 0, stays until nothing of
// the batch is open or the wait is over. Submitting and reconciling go side by
// side: what the gate never saw is sent again in the same run.
//
// A cancelled context ends the claiming; requests in flight are waited for and
// recorded, and no error is returned. An error is the store's: then the
// outcomes that could not be written are in doubt, and the next run asks.
func (r *Runner) Run(ctx context.Context, batch string) (Ending, error) {
	run := &running{Runner: r, batch: batch, now: result.NewSent(time.Now()), state: newCoordinator(time.Now()), since: r.Since, canary: canary{Canary: r.Canary}}
	if _, err := r.Store.Recover(ctx); err != nil {
		return Ending{}, err
	}
	proven, err := r.Store.Proven(ctx, r.Gate.Identity())
	if err != nil {
		return Ending{}, err
	}
	run.state.prove(proven)
	if !r.KeepHold {
		if _, err := r.Store.LetGo(ctx, batch, store.HeldByRun); err != nil {
			return Ending{}, err
		}
	}
	if err := run.beginCanary(ctx, false); err != nil {
		return Ending{}, err
	}
	if err := run.findElsewhere(ctx); err != nil {
		return Ending{}, err
	}
	others := run.elsewhere.gates
	work, stop := context.WithCancel(ctx)
	defer stop()
	run.endInTime()
	g, gctx := errgroup.WithContext(work)
	g.Go(func() error { return run.submitUnlessHeld(gctx) })
	g.Go(func() error { return run.watch(gctx) })
	if r.Wait > 0 {
		g.Go(func() error { return run.reconcile(gctx) })
		if r.Others != nil && len(others) > 0 {
			g.Go(func() error { return run.reconcileElsewhere(gctx, others) })
		}
	}
	g.Go(func() error {
		defer stop()
		return run.untilDone(gctx)
	})
	err = errors.Join(g.Wait(), run.endCanary(context.WithoutCancel(ctx)))
	run.out.Interrupted = ctx.Err() != nil
	run.out.Sent, run.out.Polled, run.out.Unreached = run.state.sent, run.state.polled, run.state.unreached // no one else is left
	if text := run.pausedBy.Load(); text != nil {
		run.out.Held = *text
	}
	run.out.GivenUp = run.budget.spent()
	run.out.Now, run.out.Elsewhere, run.out.ElsewhereNew = run.now, run.elsewhere.open, run.elsewhere.unsent
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return run.out, err
}

// running is one run under way.
type running struct {
	*Runner
	batch string
	out   Ending
	state *coordinator
	now   *result.Sent // of whoever records

	streak    failureStreak
	budget    retryBudget
	pausedBy  atomic.Pointer[string] // why sending stopped until a person lets the batch go
	mu        sync.Mutex
	since     *Verdicts // from where on the breaker counts; nil: not known yet
	composers composers
	canary    canary    // of whoever claims
	pings     int       // in vain, of whoever claims
	elsewhere elsewhere // of whoever looks whether the run is done
}

// lookEvery is how often a run looks whether it is done.
const lookEvery = 250 * time.Millisecond

// untilDone returns when the run has nothing left to do or to wait for.
func (r *running) untilDone(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		done, err := r.done(ctx)
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.state.rested:
		}
	}
}

func (r *running) done(ctx context.Context) (bool, error) {
	if !r.state.nothingToSend() {
		return false, nil
	}
	if r.Wait <= 0 || r.state.hasEnded() {
		return true, nil
	}
	b, err := r.Store.Batch(ctx, r.batch)
	if err != nil {
		return false, unlessBusy(err)
	}
	// What only a person can decide is not waited for, nor what only another gate can.
	counted := r.elsewhere.open > 0 && time.Since(r.elsewhere.at) >= recheck
	if counted {
		if err := r.countElsewhere(ctx); err != nil {
			return false, unlessBusy(err)
		}
	}
	unsent, waiting := b.Unsent()-r.elsewhere.unsent, b.Waiting()-r.elsewhere.open
	if waiting <= 0 && r.elsewhere.open > 0 && !counted {
		r.elsewhere.at = time.Time{} // what was counted may be final since: count, and look again
		return false, nil
	}
	if waiting <= 0 || waiting == unsent && (r.state.isHalted() && !r.state.isPaused() || unsent <= r.budget.spent()) {
		// Nothing waits for the gate, and what is unsent was given up for this
		// run. A payout that became free a moment ago is neither.
		return r.state.nothingToSend(), nil
	}
	return r.state.sinceLastSend(time.Now()) >= r.Wait, nil
}

// unlessBusy passes an error on that the next look may not have.
func unlessBusy(err error) error {
	if errors.Is(err, store.ErrBusy) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (r *running) notify(format string, args ...any) {
	if r.Notify != nil {
		r.Notify(fmt.Sprintf(format, args...))
	}
}

// stop ends the sending for the rest of this run, and that of other runs of the batch:
// they would meet the same.
func (r *running) stop(reason *string, text string) {
	r.state.stopOthers(text)
	r.halt(reason, text)
}

// halt ends the sending for the rest of this run.
func (r *running) halt(reason *string, text string) {
	if r.state.halt() {
		*reason = text
		if r.Stopped != nil {
			r.Stopped()
		}
		r.notify("%s", text)
	}
}
