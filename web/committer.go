package web

import (
	"context"
	"errors"
	"time"

	"masspay/payout"
	"masspay/store"
)

// Applier is what callbacks need of a store.
type Applier interface {
	Apply(ctx context.Context, events ...payout.Event) ([]store.Change, error)
}

// Committer lets many callbacks share one commit: while one is under way, those
// that come wait together for the next.
type Committer struct {
	store Applier
	queue chan waiting
}

type waiting struct {
	event payout.Event
	done  chan result
}

type result struct {
	change store.Change
	err    error
}

// maxCommit is how many callbacks share a commit at the most, and gatherFor how long
// two and more wait for others.
const (
	maxCommit = 512
	gatherFor = 2 * time.Millisecond
)

var errClosing = errors.New("the server is closing")

// NewCommitter makes a committer. Run must run for Commit to return.
func NewCommitter(s Applier) *Committer {
	return &Committer{store: s, queue: make(chan waiting, maxCommit)}
}

// Commit returns when the event's effect is durable, or with the reason why it
// is not. A cancelled context gives up the waiting, not the event.
func (c *Committer) Commit(ctx context.Context, e payout.Event) (store.Change, error) {
	w := waiting{event: e, done: make(chan result, 1)}
	select {
	case c.queue <- w:
	case <-ctx.Done():
		return store.Change{}, ctx.Err()
	}
	select {
	case r := <-w.done:
		return r.change, r.err
	case <-ctx.Done():
		return store.Change{}, ctx.Err()
	}
}

// Run commits until the context ends. What is queued by then is refused.
func (c *Committer) Run(ctx context.Context) {
	for {
		select {
		case first := <-c.queue:
			c.commit(ctx, c.gather(first))
		case <-ctx.Done():
			for _, w := range c.gather() {
				w.done <- result{err: errClosing}
			}
			return
		}
	}
}

// gather takes everything that is waiting and, where callbacks come many at a time,
// those that come a moment later.
func (c *Committer) gather(group ...waiting) []waiting {
	var over <-chan time.Time
	for len(group) < maxCommit {
		select {
		case w := <-c.queue:
			group = append(group, w)
			continue
		default:
		}
		if len(group) < 2 {
			return group
		}
		if over == nil {
			t := time.NewTimer(gatherFor)
			defer t.Stop()
			over = t.C
		}
		select {
		case w := <-c.queue:
			group = append(group, w)
		case <-over:
			return group
		}
	}
	return group
}

func (c *Committer) commit(ctx context.Context, group []waiting) {
	events := make([]payout.Event, len(group))
	for i, w := range group {
		events[i] = w.event
	}
	changes, err := c.store.Apply(context.WithoutCancel(ctx), events...)
	if err != nil && len(group) > 1 && !errors.Is(err, store.ErrBusy) {
		// One bad record must not keep the others' callbacks out.
		for _, w := range group {
			c.commit(ctx, []waiting{w})
		}
		return
	}
	for i, w := range group {
		r := result{err: err}
		if err == nil {
			r.change = changes[i]
		}
		w.done <- r
	}
}

func effect(c store.Change) string {
	if c.Kept {
		return "kept for later, the id is not known yet"
	}
	switch c.Effect {
	case payout.Changed:
		return "changed"
	case payout.Noted:
		return "noted"
	case payout.Conflicting:
		return "contradicts what is settled, kept"
	}
	return "known already"
}
