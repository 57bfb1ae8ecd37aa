package batch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/sync/errgroup"

	"masspay/batch/result"
	"masspay/gate"
	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

// submit sends the batch with three hands: one claims, many send, one applies
// what came back. It returns when the context ends and everything that was
// claimed has been recorded, or with an error of the store.
func (r *running) submit(ctx context.Context) error {
	work := make(chan *store.Claimed, mostAhead)
	heard := make(chan payout.Event, maxTogether)
	sending, abort := context.WithCancel(ctx)
	defer abort()
	hands, hctx := errgroup.WithContext(sending)
	hands.Go(func() error {
		defer close(work)
		return r.claim(hctx, work)
	})
	var senders sync.WaitGroup
	for range r.Workers {
		senders.Go(func() {
			for c := range work {
				e, _ := r.send(hctx, c)
				heard <- e
			}
		})
	}
	go func() {
		senders.Wait()
		close(heard)
	}()
	hands.Go(func() error { return r.record(ctx, heard, abort) })
	return hands.Wait()
}

// The fewest and the most claims that may wait for the limiter, if its rate allows:
// a crash leaves them in doubt.
const (
	leastAhead = 64
	mostAhead  = 4096
)

// pace measures how fast claims are sent.
type pace struct {
	since time.Time
	gone  int64   // when it was measured
	rate  float64 // a second, 0: not known yet
}

// update measures anew, unless it did a moment ago.
func (p *pace) update(now time.Time, gone int64) {
	d := now.Sub(p.since)
	if d < 50*time.Millisecond {
		return
	}
	if !p.since.IsZero() {
		p.rate = float64(gone-p.gone) / d.Seconds()
	}
	p.since, p.gone = now, gone
}

// ahead is how many claimed payouts may wait for the limiter: what leaves in
// half a second, by the rate and by what was seen, so that a crash leaves few in
// doubt and one commit serves many.
func (r *running) ahead(p *pace) int {
	ahead := max(p.rate/2, leastAhead, 4*float64(r.Workers))
	return int(min(max(math.Ceil(min(ahead, r.Rate/2)), 1), mostAhead))
}

// claim hands out payouts until the context ends. When there is none it waits
// to be woken, or looks again after a while: another process may free one.
func (r *running) claim(ctx context.Context, work chan<- *store.Claimed) error {
	var p pace
	for ctx.Err() == nil {
		if r.halted.Load() {
			<-ctx.Done()
			return nil
		}
		if wait := r.tally.pausedFor(); wait > 0 {
			sleep(ctx, wait)
			continue
		}
		if !r.proven.Load() {
			if err := r.probe(ctx); err != nil {
				return unlessDone(ctx, err)
			}
			continue
		}
		p.update(time.Now(), r.gone.Load())
		waiting, ahead := int(r.waiting.Load()), r.ahead(&p)
		if waiting > ahead/2 {
			await(ctx, r.room, recheck)
			continue
		}
		claimed, err := r.take(ctx, ahead-waiting)
		if err != nil {
			return unlessDone(ctx, err)
		}
		r.inFlight.Add(int64(len(claimed)))
		r.waiting.Add(int64(len(claimed)))
		if len(claimed) == 0 {
			r.idle.Store(true)
			signal(r.rests)
			await(ctx, r.wake, recheck)
			continue
		}
		r.idle.Store(false)
		for i := range claimed {
			work <- &claimed[i] // senders take everything, also after the context ended
		}
	}
	return nil
}

// barred leaves a retry alone for the rest of this run: its row may be paid already.
func (r *running) barred(key payout.Key, by payout.Payout) {
	if r.spent.has(key) {
		return
	}
	r.spent.add(key, r.Attempts, r.Attempts)
	r.notify("%s not sent: it would pay once more what %s pays, which is %s", key.PaymentID, by.Key.PaymentID, result.Word(by))
}

// take claims up to n payouts.
func (r *running) take(ctx context.Context, n int) ([]store.Claimed, error) {
	return patiently(ctx, r.Notify, func(ctx context.Context) ([]store.Claimed, error) {
		return r.Store.Claim(ctx, store.Claim{
			Batch: r.batch, N: n, Host: r.Gate.Identity(), AskFirst: r.AskFirst, Skip: r.spent.has, Barred: r.barred,
		})
	})
}

func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// recheck is how often an idle run looks for payouts that other processes freed.
const recheck = 2 * time.Second

// await waits for a signal, for a while.
func await(ctx context.Context, told <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-told:
	}
}

// goes notes that a claim waits for the limiter no more.
func (r *running) goes() {
	r.waiting.Add(-1)
	r.gone.Add(1)
	signal(r.room)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// send makes what is to be made of one claimed payout: at most one attempt that
// may have become a payment. Only surely unsent attempts are repeated.
func (r *running) send(ctx context.Context, c *store.Claimed) (payout.Event, gate.Answer) {
	e := payout.Event{
		Key: c.Key, Number: c.Number, Source: payout.FromRun, Attempt: c.Attempt, Host: r.Gate.Identity(), Kind: payout.Released,
	}
	leave := sync.OnceFunc(r.goes)
	defer leave()
	composer, err := r.composers.of(c)
	if err != nil {
		e.Message, e.At, e.Tick = err.Error(), time.Now(), clock.Tick()
		r.spent.add(c.Key, r.Attempts, r.Attempts)
		return e, gate.Answer{}
	}
	draft := composer.Draft(c.Key, c.Cells).OnLeave(leave)
	var wait backoff.BackOff // made when it is needed, which is seldom
	var a, throttled gate.Answer
	var started time.Time
	for ctx.Err() == nil && !r.halted.Load() {
		started = time.Now()
		a = r.Gate.Send(ctx, draft, r.Timeout)
		a.Message = payout.WithoutCells(a.Message, c.Columns, c.Cells) // it is printed, too
		if a.Sent {
			if last := r.toldUnreached.Load(); last != 0 && r.toldUnreached.CompareAndSwap(last, 0) {
				r.answered.Store(int64(time.Since(r.begun)))
				r.notify("the gate answers again")
			}
			e.Tries++
			r.sent.Add(1)
			r.lastSend.Store(int64(time.Since(r.begun)))
		}
		if a.Retry > 0 {
			throttled = a
		}
		if a.Outcome == gate.Unsent && !a.Sent && a.Paused.IsZero() && !a.Cancelled && !a.Fenced {
			r.unreached.Store(&a.Message)
			r.sayUnreached(a.Message, started)
		}
		if a.Outcome != gate.Unsent || a.Stop || a.NoMoney || a.Cancelled || a.Fenced || !a.Paused.IsZero() {
			break
		}
		r.spent.add(c.Key, 1, r.Attempts)
		if r.spent.has(c.Key) {
			break
		}
		if wait == nil {
			wait = backoff.NewExponentialBackOff(
				backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(10*time.Second), backoff.WithMaxElapsedTime(0),
			)
		}
		sleep(ctx, wait.NextBackOff())
	}
	e.At = time.Now()
	e.Code, e.Message, e.Request = a.Code, a.Message, a.Request
	if e.Kind = kindOf(a, e.Tries); e.Kind != payout.Accepted {
		e.Tick = clock.Tick() // what the gate has accepted needs none: nothing will be counted from here
	}
	if e.Kind == payout.Doubtful {
		r.spent.add(c.Key, 1, r.Attempts) // the gate may free it; not for ever
	}
	r.judge(c.Key, a, started)
	if !a.Paused.IsZero() && throttled.Retry > 0 {
		r.judge(c.Key, throttled, started) // the pause is its doing
	}
	return e, a
}

// tellUnreached is how often a run says that the gate cannot be reached.
const tellUnreached = time.Minute

// sayUnreached says that the gate cannot be reached, now and then. A request that was
// started before the gate answered again says nothing about it any more.
func (r *running) sayUnreached(why string, started time.Time) {
	if started.Sub(r.begun) < time.Duration(r.answered.Load()) {
		return
	}
	now := int64(time.Since(r.begun)) + 1
	last := r.toldUnreached.Load()
	if last != 0 && time.Duration(now-last) < tellUnreached || !r.toldUnreached.CompareAndSwap(last, now) {
		return
	}
	r.notify("%s; trying again", why)
}

// kindOf is the event that an answer makes. Dangerous to soften: an answer that
// is none of the documented ones is Doubtful.
func kindOf(a gate.Answer, tries int) payout.Kind {
	switch a.Outcome {
	case gate.Accepted:
		return payout.Accepted
	case gate.Taken:
		return payout.Taken
	case gate.Refused:
		return payout.Refused
	case gate.Unsent:
		if tries == 0 && (!a.Paused.IsZero() || a.Cancelled || a.Fenced) {
			return payout.Released
		}
		return payout.Unsent
	}
	if tries == 0 && a == (gate.Answer{}) {
		return payout.Released // never tried at all
	}
	return payout.Doubtful
}

// judge draws the conclusions for the run from one answer.
func (r *running) judge(key payout.Key, a gate.Answer, started time.Time) {
	switch {
	case a.Cancelled, a == (gate.Answer{}):
		return
	case !a.Paused.IsZero():
		r.tally.pauseUntil(a.Paused)
		return
	case a.Sent && a.Retry == 0 && !a.Proven && !r.proven.Load():
		return // the first answer of what may be no gate: see probe
	case a.Fenced:
		r.halt(&r.out.Fenced, a.Message+"; sending stopped")
		r.ended.Store(true)
	case a.Stop && a.Outcome == gate.InDoubt:
		r.halt(&r.out.Refused, fmt.Sprintf("HTTP %d (%s) came back, which does not say whether the gate has seen the request: a filter before it or behind it; sending stopped", a.HTTPStatus, a.Message))
	case a.Stop:
		r.halt(&r.out.Refused, fmt.Sprintf("the gate refuses the configuration (HTTP %d, code %s: %s); sending stopped", a.HTTPStatus, orNone(a.Code), a.Message))
	case a.NoMoney:
		r.spent.add(key, r.Attempts, r.Attempts)
		r.halt(&r.out.NoMoney, fmt.Sprintf("the balance does not cover %s (code %s: %s); sending stopped", key, a.Code, a.Message))
	}
	if n := r.tally.count(a, started); r.MaxRefusals > 0 && n >= r.MaxRefusals {
		r.halt(&r.out.Alike, fmt.Sprintf("%d payouts in a row %s; sending stopped", n, alike(a)))
	}
}

// alike says in words what many answers have in common.
func alike(a gate.Answer) string {
	said := saidBy(a)
	switch {
	case a.Outcome == gate.Refused:
		return "were refused alike (" + said + ")"
	case a.Outcome == gate.InDoubt:
		return "got no usable answer (" + said + ") and may be paid or not"
	case !a.Sent:
		return "could not be sent (" + said + ")"
	}
	return "were turned away alike (" + said + ")"
}

// saidBy is what an answer said: with its status line and code, where there was one.
func saidBy(a gate.Answer) string {
	if a.HTTPStatus == 0 {
		return a.Message
	}
	return fmt.Sprintf("HTTP %d, code %s: %s", a.HTTPStatus, orNone(a.Code), a.Message)
}

func orNone(code string) string {
	if code == "" {
		return "none"
	}
	return code
}

// tally counts refusals alike in a row, and remembers how long to pause.
type tally struct {
	mu    sync.Mutex
	alike string
	n     int
	good  time.Time // when the last request that went well was started
	until time.Time
}

// count returns how many answers of a bad kind came in a row, this included.
// A request that was started before one that went well counts no more: many
// that hang come back together, long after the gate has recovered.
func (t *tally) count(a gate.Answer, started time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.Outcome == gate.Accepted || a.Outcome == gate.Taken {
		t.alike, t.n = "", 0
		if started.After(t.good) {
			t.good = started
		}
		return 0
	}
	if started.Before(t.good) {
		return 0
	}
	if kind := a.Alike(); kind != t.alike {
		t.alike, t.n = kind, 0
	}
	t.n++
	return t.n
}

func (t *tally) pauseUntil(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at.After(t.until) {
		t.until = at
	}
}

func (t *tally) pausedFor() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(t.until)
}

// What came back is gathered for so long, and no more than so much, before one
// commit writes it. What is gathered when the process dies is in doubt.
const (
	gatherFor   = 20 * time.Millisecond
	maxTogether = 2048
)

// record applies what came back, in one commit for all that is waiting. It must
// go on after the context ended: what the gate said is not to be lost. When the
// store cannot write, it stops the sending.
func (r *running) record(ctx context.Context, heard <-chan payout.Event, abort func()) error {
	var failed error
	var events []payout.Event
	for e := range heard {
		events = r.gather(append(events[:0], e), heard)
		if err := r.applyAll(context.WithoutCancel(ctx), events); err != nil && failed == nil {
			failed = err
			abort()
		}
		if r.inFlight.Add(-int64(len(events))) == 0 {
			signal(r.rests)
		}
	}
	if failed != nil {
		return fmt.Errorf("what the gate answered could not be written (the payouts are in doubt, the next run asks the gate): %w", failed)
	}
	return nil
}

// gather adds what comes back soon, unless nothing else is under way.
func (r *running) gather(events []payout.Event, heard <-chan payout.Event) []payout.Event {
	t := time.NewTimer(gatherFor)
	defer t.Stop()
	for len(events) < maxTogether && int64(len(events)) < r.inFlight.Load() {
		select {
		case e, ok := <-heard:
			if !ok {
				return events
			}
			events = append(events, e)
		case <-t.C:
			return events
		}
	}
	return events
}

// applyAll writes events together or, when one of them cannot be written, each
// by itself: a damaged record must not take the others' answers with it.
func (r *running) applyAll(ctx context.Context, events []payout.Event) error {
	err := r.apply(ctx, events)
	if err == nil || len(events) == 1 {
		return err
	}
	var failed error
	for _, e := range events {
		if err := r.apply(ctx, []payout.Event{e}); err != nil {
			failed = err
		}
	}
	return failed
}

// apply writes events and wakes the claiming hand when a payout became free.
func (r *running) apply(ctx context.Context, events []payout.Event) error {
	changes, err := patiently(ctx, r.Notify, func(ctx context.Context) ([]store.Change, error) {
		return r.Store.Apply(ctx, events...)
	})
	if err != nil {
		return err
	}
	freed := false
	for i, c := range changes {
		if events[i].Tries > 0 {
			r.now.Add(c.After.Number)
		}
		freed = freed || c.Freed()
	}
	if freed {
		r.idle.Store(false)
		signal(r.wake)
	}
	return nil
}
