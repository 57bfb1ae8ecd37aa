package store

import (
	"context"
	"errors"
	"time"

	"masspay/payout"
)

// maxGroup is how many events share a commit at the most.
const maxGroup = 2048

// ErrStopped says that the committer has stopped, and the event was not written.
var ErrStopped = errors.New("nothing more is written by this process")

// Committer lets many events share one commit: while one is under way, those that come
// wait together for the next. It is safe for concurrent use.
type Committer struct {
	store   Applier
	wait    func(n int) time.Duration
	queue   chan queued
	stopped chan struct{}
}

type queued struct {
	event payout.Event
	done  func(e *payout.Event, c *Change, err error)
}

// NewCommitter makes a committer; Run must run for it to do anything. wait says how long
// a group of n events waits for others, counted from its first one; 0 or less: it is
// written now. What is gathered when the process dies is lost to the store.
func NewCommitter(s Applier, wait func(n int) time.Duration) *Committer {
	return &Committer{store: s, wait: wait, queue: make(chan queued, maxGroup), stopped: make(chan struct{})}
}

// Put queues an event; it blocks while many wait. done hears once, from Run's goroutine,
// what the event did, or why it is not durable; what it is given it must not keep. Put
// must not be called after Run's context has ended.
func (c *Committer) Put(e payout.Event, done func(e *payout.Event, c *Change, err error)) {
	c.queue <- queued{e, done}
}

// Commit returns when the event's effect is durable, or with the reason why it is not:
// ErrStopped, the store's, or the context's. A cancelled context gives up the waiting, not
// the event.
func (c *Committer) Commit(ctx context.Context, e payout.Event) (Change, error) {
	type result struct {
		change Change
		err    error
	}
	heard := make(chan result, 1)
	q := queued{e, func(_ *payout.Event, change *Change, err error) { heard <- result{*change, err} }}
	select {
	case c.queue <- q:
	case <-c.stopped:
		return Change{}, ErrStopped
	case <-ctx.Done():
		return Change{}, ctx.Err()
	}
	select {
	case r := <-heard:
		return r.change, r.err
	case <-c.stopped:
		select {
		case r := <-heard: // it was in the last group
			return r.change, r.err
		default:
			return Change{}, ErrStopped
		}
	case <-ctx.Done():
		return Change{}, ctx.Err()
	}
}

// Run commits until the context ends, and then what is queued by then: what a gate said
// is not to be lost.
func (c *Committer) Run(ctx context.Context) {
	defer close(c.stopped)
	var group []queued
	for {
		select {
		case first := <-c.queue:
			group = c.gather(append(group[:0], first))
		case <-ctx.Done():
			for group = c.drain(group[:0]); len(group) > 0; group = c.drain(group[:0]) {
				c.commit(ctx, group)
			}
			return
		}
		c.commit(ctx, group)
		clear(group)
	}
}

// drain adds everything that is waiting.
func (c *Committer) drain(group []queued) []queued {
	for len(group) < maxGroup {
		select {
		case q := <-c.queue:
			group = append(group, q)
		default:
			return group
		}
	}
	return group
}

// gather adds everything that is waiting, and what comes soon, as long as it is worth
// waiting for.
func (c *Committer) gather(group []queued) []queued {
	var over <-chan time.Time
	for len(group) < maxGroup {
		if group = c.drain(group); len(group) == maxGroup {
			break
		}
		wait := c.wait(len(group))
		if wait <= 0 {
			break
		}
		if over == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			over = t.C
		}
		select {
		case q := <-c.queue:
			group = append(group, q)
		case <-over:
			return group
		}
	}
	return group
}

// commit writes a group together or, when that fails, each event by itself: one damaged
// record must not take the others' with it.
func (c *Committer) commit(ctx context.Context, group []queued) {
	events := make([]payout.Event, len(group))
	for i := range group {
		events[i] = group[i].event
	}
	changes, err := c.store.Apply(context.WithoutCancel(ctx), events...)
	if err != nil && len(group) > 1 && !errors.Is(err, ErrBusy) {
		for i := range group {
			c.commit(ctx, group[i:i+1])
		}
		return
	}
	var none Change
	for i := range group {
		change := &none
		if err == nil {
			change = &changes[i]
		}
		group[i].done(&events[i], change, err)
	}
}
