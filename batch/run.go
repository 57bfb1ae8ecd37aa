// Package batch is the engine: it claims what a batch has to send, sends each payout once,
// records what came back, polls what stays silent, and lets people find, cancel and
// resolve. It decides what is sent when; what a payout's state is, only payout.Next
// decides, and what is remembered is the store's.
package batch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
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
	Attempts    int           // surely unsent attempts of a payout in one run
	MaxRefusals int           // refusals alike in a row that pause the run
	StatusAfter time.Duration // how long to wait for a callback before polling the status
	Wait        time.Duration // for outcomes, from the last send; 0: neither wait nor poll
	AskFirst    bool          // the store is a restored copy: ask about each payout before sending it
	Aliases     []string      // identities of gates that are one platform; see payout.Rules

	// Others makes a client for another gate, by its identity, to poll what was sent
	// there. nil, or an error: that is not polled by this run.
	Others func(identity string) (*gate.Client, error)

	Notify  func(text string) // something that a person should hear of now; may be nil
	Stopped func()            // once, when nothing more is sent for a reason; may be nil
}

// Outcome is how a run ended. Whatever it says, the store knows the state of
// every payout.
type Outcome struct {
	Sent  int          // payout requests that may have left this machine
	Now   *result.Sent // the payouts that they were for
	Asked int          // status questions

	Refused     string // why the gate refuses the configuration, or is none; sending stopped
	Fenced      string // why this process may send nothing more; sending stopped
	Elsewhere   int    // payouts of the batch that were sent to another gate, and are only polled there
	NoMoney     string // the account's balance did not cover a payout; sending stopped
	Alike       string // so many answers alike in a row; sending stopped
	Unreached   string // why the gate could not be reached, the last time that it could not
	Interrupted bool   // the context ended before the work did
}

// Run sends what was not sent yet and, unless Wait is 0, stays until nothing of
// the batch is open or the wait is over. Submitting and reconciling go side by
// side: what the gate never saw is sent again in the same run.
//
// A cancelled context ends the claiming; requests in flight are waited for and
// recorded, and no error is returned. An error is the store's: then the
// outcomes that could not be written are in doubt, and the next run asks.
func (r *Runner) Run(ctx context.Context, batch string) (Outcome, error) {
	run := &running{Runner: r, batch: batch, begun: time.Now(), now: result.NewSent(time.Now()), wake: make(chan struct{}, 1), room: make(chan struct{}, 1), rests: make(chan struct{}, 1)}
	if _, err := r.Store.Recover(ctx); err != nil {
		return Outcome{}, err
	}
	proven, err := r.Store.Proven(ctx, r.Gate.Identity())
	if err != nil {
		return Outcome{}, err
	}
	run.proven.Store(proven)
	if err := run.findElsewhere(ctx); err != nil {
		return Outcome{}, err
	}
	others := run.elsewhere.gates
	work, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(work)
	g.Go(func() error { return run.submit(gctx) })
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
	err = g.Wait()
	run.out.Interrupted = ctx.Err() != nil
	if why := run.unreached.Load(); why != nil {
		run.out.Unreached = *why
	}
	run.out.Sent, run.out.Asked, run.out.Elsewhere = int(run.sent.Load()), int(run.asked.Load()), run.elsewhere.open
	run.out.Now = run.now
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return run.out, err
}

// running is one run under way.
type running struct {
	*Runner
	batch string
	begun time.Time
	out   Outcome

	wake     chan struct{} // something became New
	idle     atomic.Bool   // the last claim found nothing to send
	halted   atomic.Bool   // sending stopped for the rest of the run
	ended    atomic.Bool   // and nothing is waited for
	proven   atomic.Bool   // the gate has answered as only a gate does
	inFlight atomic.Int64  // claims not yet recorded
	waiting  atomic.Int64  // of those, the ones that the limiter has not let go
	gone     atomic.Int64  // claims that it has let go, or will not
	room     chan struct{} // one of them has gone
	rests    chan struct{} // the last of what was claimed has been recorded
	sent     atomic.Int64
	now      *result.Sent // of whoever applies
	asked    atomic.Int64
	lastSend atomic.Int64 // nanoseconds since it begun

	tally         tally
	unreached     atomic.Pointer[string]
	toldUnreached atomic.Int64 // nanoseconds since it begun
	answered      atomic.Int64 // the same, when it answered again after it was told
	pings         int          // in vain, of whoever claims
	elsewhere     elsewhere    // of whoever looks whether the run is done
	spent         spent
	composers     composers
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
		case <-r.rests:
		}
	}
}

func (r *running) done(ctx context.Context) (bool, error) {
	if !r.nothingToSend() {
		return false, nil
	}
	if r.Wait <= 0 || r.ended.Load() {
		return true, nil
	}
	b, err := r.Store.Batch(ctx, r.batch)
	if err != nil {
		return false, unlessBusy(err)
	}
	// What only a person can settle is not waited for, nor what only another gate can.
	counted := r.elsewhere.open > 0 && time.Since(r.elsewhere.at) >= recheck
	if counted {
		if err := r.countElsewhere(ctx); err != nil {
			return false, unlessBusy(err)
		}
	}
	unsent, waiting := b.Unsent()-r.elsewhere.unsent, b.Waiting()-r.elsewhere.open
	if waiting <= 0 && r.elsewhere.open > 0 && !counted {
		r.elsewhere.at = time.Time{} // what was counted may have been settled since: count, and look again
		return false, nil
	}
	if waiting <= 0 || waiting == unsent && (r.halted.Load() || unsent <= r.spent.len()) {
		// Nothing waits for the gate, and what is unsent was given up for this
		// run. A payout that became free a moment ago is neither.
		return r.nothingToSend(), nil
	}
	return time.Since(r.begun)-time.Duration(r.lastSend.Load()) >= r.Wait, nil
}

// unlessBusy passes an error on that the next look may not have.
func unlessBusy(err error) error {
	if errors.Is(err, store.ErrBusy) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// resting reports whether nothing more is being claimed: the last claim found
// nothing, or sending stopped.
func (r *running) resting() bool { return r.idle.Load() || r.halted.Load() }

// nothingToSend reports whether nothing is claimed and nothing can be.
func (r *running) nothingToSend() bool { return r.resting() && r.inFlight.Load() == 0 }

// signal tells whoever waits on a channel of one place; nobody is told twice.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *running) notify(format string, args ...any) {
	if r.Notify != nil {
		r.Notify(fmt.Sprintf(format, args...))
	}
}

// halt ends the sending for the rest of this run.
func (r *running) halt(reason *string, text string) {
	if r.halted.CompareAndSwap(false, true) {
		*reason = text
		if r.Stopped != nil {
			r.Stopped()
		}
		r.notify("%s", text)
	}
}

// sayWaiting is how often a run that waits for the store says so.
const sayWaiting = 30 * time.Second

// patiently repeats what the store was too busy for: what was heard from the
// gate must not get lost because others are at the store. It says what it waits for,
// now and then.
func patiently[T any](ctx context.Context, tell func(text string), do func(ctx context.Context) (T, error)) (T, error) {
	said := time.Now()
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	return backoff.RetryWithData(func() (T, error) {
		v, err := do(ctx)
		if err != nil && !errors.Is(err, store.ErrBusy) {
			return v, backoff.Permanent(err)
		}
		if err != nil && tell != nil && time.Since(said) >= sayWaiting {
			said = time.Now()
			tell("waiting for the store: " + err.Error())
		}
		return v, err
	}, backoff.WithContext(b, ctx))
}
