package batch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"masspay/batch/result"
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
	Aliases     []string // identities of gates that are one platform; see payout.Rules

	// Others makes a client for another gate, by its identity, to poll what was sent
	// there. nil, or an error: that is not polled.
	Others func(identity string) (*gate.Client, error)
	Notify func(text string) // something that a person should hear of now; may be nil
}

// Answers counts what questions brought.
type Answers struct {
	Asked   int
	News    int    // payouts about which the gate had news
	Freed   int    // of those, payouts that the gate never saw and that may be sent again
	Refused string // why the gate refuses the configuration, or is none

	Paused   time.Time // until when requests are paused, so that not all were asked about
	TooEarly int       // payouts that were sent a moment ago and not asked about

	Became  map[string]int  // by result.state as it is now, payouts with news
	Batches map[uint32]bool // numbers of the batches that have payouts with news

	Elsewhere map[string]int // payouts that were sent to other gates, by identity, and not polled
}

func (a *Answers) add(b Answers) {
	a.Asked += b.Asked
	a.News += b.News
	a.Freed += b.Freed
	a.TooEarly += b.TooEarly
	a.changed(b.Batches)
	for word, n := range b.Became {
		a.became(word, n)
	}
	a.Refused, a.Paused = b.Refused, b.Paused
}

func (a *Answers) became(word string, n int) {
	if a.Became == nil {
		a.Became = map[string]int{}
	}
	a.Became[word] += n
}

func (a *Answers) changed(batches map[uint32]bool) {
	if a.Batches == nil {
		a.Batches = map[uint32]bool{}
	}
	maps.Copy(a.Batches, batches)
}

// Round polls once about every open payout of a batch, or of all batches when
// batch is empty, but for those that were sent a moment ago: the gate answers
// nothing useful about them yet. Payouts that were sent to other gates are polled
// there, and nowhere else.
func (q *Reconciler) Round(ctx context.Context, batch string) (Answers, error) {
	if _, err := patiently(ctx, q.Notify, q.Store.Recover); err != nil {
		return Answers{}, err
	}
	sum, err := q.round(ctx, store.Filter{Batch: batch, Gate: q.Gate.Identity()})
	if err != nil || ctx.Err() != nil {
		return sum, err
	}
	gates, err := q.otherGates(ctx)
	if err != nil {
		return sum, err
	}
	for _, other := range gates {
		f := store.Filter{Batch: batch, Gate: other}
		at, err := q.at(other)
		if err != nil {
			n, err := q.open(ctx, f)
			if err != nil {
				return sum, err
			}
			if n > 0 {
				if sum.Elsewhere == nil {
					sum.Elsewhere = map[string]int{}
				}
				sum.Elsewhere[other] = n
			}
			continue
		}
		there, err := at.round(ctx, f)
		sum.Asked += there.Asked
		sum.News += there.News
		sum.TooEarly += there.TooEarly
		sum.changed(there.Batches)
		for word, n := range there.Became {
			sum.became(word, n)
		}
		if there.Refused != "" && q.Notify != nil {
			q.Notify(there.Refused)
		}
		at.Gate.Close()
		if err != nil || ctx.Err() != nil {
			return sum, err
		}
	}
	return sum, nil
}

// otherGates are the gates that open payouts may have been sent to, and that are not
// this one, sorted.
func (q *Reconciler) otherGates(ctx context.Context) (others []string, err error) {
	gates, err := q.Store.OpenGates(ctx)
	rules := payout.Rules{Aliases: q.Aliases}
	for g := range gates {
		if !rules.SameGate(g, q.Gate.Identity()) {
			others = append(others, g)
		}
	}
	slices.Sort(others)
	return others, err
}

// at is a reconciler for another gate.
func (q *Reconciler) at(identity string) (*Reconciler, error) {
	if q.Others == nil {
		return nil, errors.New("other gates are not polled")
	}
	client, err := q.Others(identity)
	if err != nil {
		return nil, err
	}
	other := *q
	other.Gate, other.Others = client, nil
	return &other, nil
}

// polled are the states of payouts that polls may tell something about.
var polled = []payout.State{payout.StateUnknown, payout.StateAccepted}

// open counts what is to be polled.
func (q *Reconciler) open(ctx context.Context, f store.Filter) (n int, err error) {
	f.States = polled
	for _, err := range q.Store.List(ctx, f) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (q *Reconciler) round(ctx context.Context, f store.Filter) (Answers, error) {
	var sum Answers
	now := time.Now()
	var group []payout.Record
	ask := func() error {
		a, err := q.ask(ctx, group)
		sum.add(a)
		group = group[:0]
		return err
	}
	f.States = polled
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

// ask polls about each record and writes what came back. A gate that is not proven is
// polled about one payout first, alone over all processes of the store.
func (q *Reconciler) ask(ctx context.Context, records []payout.Record) (sum Answers, err error) {
	if len(records) == 0 {
		return sum, nil
	}
	proven, err := q.Store.Proven(ctx, q.Gate.Identity())
	if err != nil {
		return sum, err
	}
	goesOn := func() bool { return len(records) > 0 && sum.Refused == "" && sum.Paused.IsZero() && ctx.Err() == nil }
	for !proven && goesOn() {
		var a Answers
		if a, proven, err = q.askAlone(ctx, records[0]); err != nil {
			return sum, err
		}
		sum.add(a)
		records = records[1:]
	}
	if !goesOn() {
		return sum, err
	}
	a, _, err := q.askTogether(ctx, records)
	sum.add(a)
	return sum, err
}

// askAlone polls a gate that is not proven, while no other process has a request under
// way to it. An answer that is not a gate's ends the polling.
func (q *Reconciler) askAlone(ctx context.Context, rec payout.Record) (sum Answers, proven bool, err error) {
	gateID := q.Gate.Identity()
	release, err := patiently(ctx, q.Notify, q.Store.Probe)
	if err != nil {
		return sum, false, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if proven, err = q.Store.Proven(ctx, gateID); err != nil || proven {
		if err == nil {
			sum, _, err = q.askTogether(ctx, []payout.Record{rec})
		}
		return sum, proven, err
	}
	sum, polls, err := q.askTogether(ctx, []payout.Record{rec})
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
	return fmt.Sprintf("%s has never answered as a Gate API does, and does not now (%s)", identity, answer)
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

// askTogether polls about several payouts side by side.
func (q *Reconciler) askTogether(ctx context.Context, records []payout.Record) (sum Answers, polls []poll, err error) {
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
	sum.Asked = len(events)
	changes, err := patiently(context.WithoutCancel(ctx), q.Notify, func(ctx context.Context) ([]store.Change, error) {
		return q.Store.Apply(ctx, events...)
	})
	for _, c := range changes {
		if c.Effect == payout.Changed || c.Effect == payout.Conflicting {
			sum.News++
			sum.became(result.Word(c.After), 1)
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
	asked := clock.Tick()
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
	e.Number = p.Number
	out.event = e
	return out
}

// reconciler polls as a run is configured to.
func (r *running) reconciler() *Reconciler {
	return &Reconciler{
		Store: r.Store, Gate: r.Gate, Workers: r.Workers, Timeout: r.Timeout, StatusAfter: r.StatusAfter,
		Aliases: r.Aliases, Others: r.Others, Notify: r.Notify,
	}
}

// reconcile asks about the batch's open payouts as they come due, while nothing
// waits to be sent: sends go before questions. It looks for dead processes too.
func (r *running) reconcile(ctx context.Context) error {
	q := r.reconciler()
	tick := time.NewTicker(min(max(r.StatusAfter/8, 50*time.Millisecond), 2*time.Second))
	defer tick.Stop()
	recovered := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if time.Since(recovered) >= max(r.StatusAfter/3, lookEvery) {
			recovered = time.Now()
			if _, err := patiently(ctx, r.Notify, r.Store.Recover); err != nil {
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
		for rec, err := range r.Store.List(ctx, store.Filter{Batch: r.batch, DueBy: time.Now(), Limit: askedAtOnce, Gate: q.Gate.Identity()}) {
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
			r.ended.Store(r.ended.Load() || !r.proven.Load())
			return nil
		}
		if a.Asked > 0 && !r.proven.Load() {
			proven, err := r.Store.Proven(ctx, q.Gate.Identity())
			if err != nil {
				return err
			}
			r.proven.Store(proven)
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
