package batch

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
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

// Polled counts what polls brought.
type Polled struct {
	Answered int
	Changed  int    // payouts about which the gate had news
	Freed    int    // of those, payouts that the gate never saw and that may be sent again
	Refused  string // why the gate refuses the configuration, or is none

	Paused   time.Time // until when requests are paused, so that not all were asked about
	TooEarly int       // payouts that were sent a moment ago and not asked about

	Became  map[string]int  // by result.state as it is now, payouts with news
	Batches map[uint32]bool // numbers of the batches that have payouts with news

	Elsewhere map[string]int // payouts that were sent to other gates, by identity, and not polled
}

// add takes in what more polls of the same gate brought.
func (a *Polled) add(b Polled) {
	a.gather(b)
	a.Refused, a.Paused = b.Refused, b.Paused
}

// gather takes in what polls of any gate brought; that one refuses or pauses says
// nothing of another.
func (a *Polled) gather(b Polled) {
	a.Answered += b.Answered
	a.Changed += b.Changed
	a.Freed += b.Freed
	a.TooEarly += b.TooEarly
	a.changed(b.Batches)
	for word, n := range b.Became {
		a.became(word, n)
	}
}

func (a *Polled) became(word string, n int) {
	if a.Became == nil {
		a.Became = map[string]int{}
	}
	a.Became[word] += n
}

func (a *Polled) changed(batches map[uint32]bool) {
	if a.Batches == nil {
		a.Batches = map[uint32]bool{}
	}
	maps.Copy(a.Batches, batches)
}

// Round polls once about every open payout of a batch, or of all batches when
// batch is empty, but for those that were sent a moment ago: the gate answers
// nothing useful about them yet. Payouts that were sent to other gates are polled
// there, and nowhere else.
func (q *Reconciler) Round(ctx context.Context, batch string) (Polled, error) {
	if _, err := patiently(ctx, q.Notify, q.Store.Recover); err != nil {
		return Polled{}, err
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
		sum.gather(there)
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

func (q *Reconciler) round(ctx context.Context, f store.Filter) (Polled, error) {
	var sum Polled
	now := time.Now()
	var group []payout.History
	ask := func() error {
		a, err := q.pollSome(ctx, group)
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
		if group = append(group, rec); len(group) < pollGroup {
			continue
		}
		if err := ask(); err != nil || sum.Refused != "" || !sum.Paused.IsZero() || ctx.Err() != nil {
			return sum, err
		}
	}
	return sum, ask()
}
