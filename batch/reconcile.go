package batch

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

// Reconciler asks the gate what became of open payouts. It sends nothing.
type Reconciler struct {
	Store       store.Store
	Gate        *gate.Client
	Workers     int
	Timeout     time.Duration
	StatusAfter time.Duration
}

// Answers counts what questions brought.
type Answers struct {
	Asked   int
	News    int    // payouts about which the gate had news
	Freed   int    // of those, payouts that the gate never saw and that may be sent again
	Refused string // why the gate refuses the configuration

	Paused   time.Time // until when requests are paused, so that not all were asked about
	TooEarly int       // payouts that were sent a moment ago and not asked about
}

// Round asks once about every open payout of a batch, or of all batches when
// batch is empty, but for those that were sent a moment ago: the gate answers
// nothing useful about them yet.
func (q *Reconciler) Round(ctx context.Context, batch string) (Answers, error) {
	var sum Answers
	if _, err := patiently(ctx, q.Store.Recover); err != nil {
		return sum, err
	}
	now := time.Now()
	var group []payout.Record
	ask := func() error {
		a, err := q.ask(ctx, group)
		sum.Asked += a.Asked
		sum.News += a.News
		sum.Freed += a.Freed
		sum.Refused, sum.Paused = a.Refused, a.Paused
		group = group[:0]
		return err
	}
	f := store.Filter{Batch: batch, States: []payout.State{payout.StateUnknown, payout.StateAccepted}}
	for rec, err := range q.Store.List(ctx, f) {
		if err != nil {
			return sum, err
		}
		// A clock that was set back makes no payout young again.
		if age := now.Sub(rec.EndedAt); age >= 0 && age < q.StatusAfter {
			sum.TooEarly++
			continue
		}
		if group = append(group, rec); len(group) < askedAtOnce {
			continue
		}
		if err := ask(); err != nil || sum.Refused != "" || !sum.Paused.IsZero() || ctx.Err() != nil {
			return sum, err
		}
	}
	return sum, ask()
}

// askedAtOnce is how many answers share one commit.
const askedAtOnce = 64

// ask puts one question for each record and writes what came back.
func (q *Reconciler) ask(ctx context.Context, records []payout.Record) (Answers, error) {
	var sum Answers
	events := make([]payout.Event, len(records))
	refused, paused := make([]string, len(records)), make([]time.Time, len(records))
	var g errgroup.Group
	g.SetLimit(max(q.Workers, 1))
	for i, rec := range records {
		g.Go(func() error {
			events[i], refused[i], paused[i] = q.question(ctx, rec.Payout)
			return nil
		})
	}
	_ = g.Wait() // the questions return no errors, they are events
	events = slices.DeleteFunc(events, func(e payout.Event) bool { return e.Kind == 0 })
	if i := slices.IndexFunc(refused, func(s string) bool { return s != "" }); i >= 0 {
		sum.Refused = refused[i]
	}
	sum.Asked, sum.Paused = len(events), slices.MaxFunc(append(paused, time.Time{}), time.Time.Compare)
	changes, err := patiently(context.WithoutCancel(ctx), func(ctx context.Context) ([]store.Change, error) {
		return q.Store.Apply(ctx, events...)
	})
	for _, c := range changes {
		if c.Effect == payout.Changed || c.Effect == payout.Conflicting {
			sum.News++
		}
		if c.Freed() {
			sum.Freed++
		}
	}
	return sum, err
}

// question asks about one payout. An event of kind 0 means that nothing was
// asked, because requests are paused or the context ended. The text says why
// the gate refuses to answer this configuration at all, and is mostly empty.
func (q *Reconciler) question(ctx context.Context, p payout.Payout) (e payout.Event, refused string, until time.Time) {
	// What the gate does not know, it did not know when it was asked; by the time
	// of the answer it may.
	asked := clock.Tick()
	n, err := q.Gate.Status(ctx, p.Key, q.Timeout)
	e = payout.Event{Key: p.Key, Source: payout.FromStatus, At: time.Now(), Tick: asked, Host: q.Gate.Host(), Kind: payout.Silent}
	var paused gate.Paused
	var said *gate.Error
	switch {
	case err == nil:
		ours, theirs, err := Whose(ctx, q.Store, p, n)
		if err != nil {
			e.Message = "the row could not be read: " + err.Error()
			break // asked again later
		}
		e = n.Event(payout.FromStatus, q.Gate.Host(), e.At)
		e.Ours, e.Theirs = ours, theirs
	case errors.Is(err, gate.ErrNotSeen):
		e.Kind, e.Code = payout.NotSeen, gate.CodeNotFound
	case errors.As(err, &paused):
		return payout.Event{}, "", paused.PausedUntil()
	case ctx.Err() != nil:
		return payout.Event{}, "", until
	case errors.As(err, &said):
		e.Code, e.Message = said.Code, said.Message
		if said.Stop {
			refused = said.Error()
		}
	default:
		e.Message = err.Error()
	}
	e.Number = p.Number
	return e, refused, until
}

// reconcile asks about the batch's open payouts as they come due, while nothing
// waits to be sent: sends go before questions. It looks for dead processes too.
func (r *running) reconcile(ctx context.Context) error {
	q := &Reconciler{Store: r.Store, Gate: r.Gate, Workers: r.Workers, Timeout: r.Timeout, StatusAfter: r.StatusAfter}
	tick := time.NewTicker(min(max(r.StatusAfter/8, 50*time.Millisecond), 2*time.Second))
	defer tick.Stop()
	recovered := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if time.Since(recovered) >= max(r.StatusAfter/3, poll) {
			recovered = time.Now()
			if _, err := patiently(ctx, r.Store.Recover); err != nil {
				return unlessDone(ctx, err)
			}
		}
		if !r.resting() {
			continue
		}
		if err := r.askDue(ctx, q); err != nil {
			return unlessDone(ctx, err)
		}
	}
}

// askDue asks about what is due, group by group, until nothing is or something
// became free to send.
func (r *running) askDue(ctx context.Context, q *Reconciler) error {
	for ctx.Err() == nil && r.resting() {
		var due []payout.Record
		for rec, err := range r.Store.List(ctx, store.Filter{Batch: r.batch, DueBy: time.Now(), Limit: askedAtOnce}) {
			if errors.Is(err, store.ErrBusy) {
				return nil
			}
			if err != nil {
				return err
			}
			due = append(due, rec)
		}
		if len(due) == 0 {
			return nil
		}
		a, err := q.ask(ctx, due)
		r.asked.Add(int64(a.Asked))
		if err != nil {
			return err
		}
		if a.Refused != "" {
			r.halt(&r.out.Refused, a.Refused+"; sending stopped")
			return nil
		}
		if a.Asked == 0 {
			return nil // paused
		}
		if a.Freed > 0 {
			r.idle.Store(false)
			signal(r.wake)
		}
	}
	return nil
}
