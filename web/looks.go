package web

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"masspay/store"
)

// looks keep what was read from the store of late: whoever asks for the same within a second
// gets it, so that the store's cost does not grow with those who look.
type looks struct {
	mu     sync.Mutex
	kept   map[string]kept
	flight singleflight.Group
	turns  turns
}

type kept struct {
	value any
	at    time.Time
}

// How long a look is fresh unless it says otherwise, how long it serves where the store is
// busy, for how long a page waits for its turn when it has an older look, and when it has one
// of just before, how long one may take, after how long no other begins in the same turn, and
// how many are kept.
const (
	freshFor  = time.Second
	staleFor  = 10 * time.Minute
	patience  = 2 * time.Second
	justFor   = 10 * time.Second
	brief     = 50 * time.Millisecond
	lookLimit = 20 * time.Second
	turnLimit = 10 * time.Millisecond
	mostLooks = 200
)

// After how long a wait others want the store too, and how far apart turns are then.
const (
	contention = 5 * time.Millisecond
	apart      = 40 * time.Millisecond
)

// look reads a thing from the store, or gives what was read within the last second. Where the
// store is busy it gives an older one, if there is one; at says of when it is.
func look[T any](ctx context.Context, p *Pages, key string, read func(ctx context.Context) (T, error)) (value T, at time.Time, err error) {
	return lookFor(ctx, p, freshFor, key, read)
}

// lookFor is look, for what is fresh for longer.
func lookFor[T any](ctx context.Context, p *Pages, fresh time.Duration, key string, read func(ctx context.Context) (T, error)) (value T, at time.Time, err error) {
	l := &p.looks
	l.mu.Lock()
	had, there := l.kept[key]
	l.mu.Unlock()
	now := p.now()
	age := now.Sub(had.at)
	there = there && age >= 0 && age < staleFor
	old, _ := had.value.(T)
	if there && age < fresh {
		return old, had.at, nil
	}
	result := l.flight.DoChan(key, func() (any, error) {
		at := p.now()
		var v T
		err := l.turns.take(p.Source, func(ctx context.Context) (err error) {
			v, err = read(ctx)
			return err
		})
		if err == nil {
			l.keep(key, kept{v, at})
		}
		return kept{v, at}, err
	})
	var soon <-chan time.Time
	if there {
		wait := patience
		if age < justFor {
			wait = brief
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		soon = t.C
	}
	select {
	case r := <-result:
		if there && errors.Is(r.Err, store.ErrBusy) {
			return old, had.at, nil
		}
		is, _ := r.Val.(kept)
		value, _ = is.value.(T)
		return value, is.at, r.Err
	case <-soon:
		return old, had.at, nil
	case <-ctx.Done():
		return value, at, ctx.Err()
	}
}

// keep keeps a look; of too many the oldest goes.
func (l *looks) keep(key string, is kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		l.kept = map[string]kept{}
	}
	l.kept[key] = is
	if len(l.kept) <= mostLooks {
		return
	}
	oldest := key
	for k, v := range l.kept {
		if v.at.Before(l.kept[oldest].at) {
			oldest = k
		}
	}
	delete(l.kept, oldest)
}

// turns let many looks share a turn at the store: whoever sends waits for each turn, and
// whoever looks waits for those who send.
type turns struct {
	mu      sync.Mutex
	waiting []waitingLook
	going   bool

	contended bool      // the last turn was waited for; this and last are serve's alone
	last      time.Time // when it ended
}

type waitingLook struct {
	do   func(ctx context.Context) error
	done chan<- error
}

// safely does a look. A fault in a page must not end the process that takes callbacks.
func (l waitingLook) safely(ctx context.Context) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("a page cannot be made: %v\n%s", fault, debug.Stack())
		}
	}()
	return l.do(ctx)
}

// take does a look in the next turn, with those that wait for it as well.
func (t *turns) take(s Source, do func(ctx context.Context) error) error {
	done := make(chan error, 1)
	t.mu.Lock()
	t.waiting = append(t.waiting, waitingLook{do, done})
	if !t.going {
		t.going = true
		go t.serve(s)
	}
	t.mu.Unlock()
	return <-done
}

// serve takes turns until nobody waits any more. Where others want the store as well it takes
// them less often, and does more in each: those who send wait for each of them.
func (t *turns) serve(s Source) {
	for {
		if t.contended {
			<-time.After(apart - time.Since(t.last))
		}
		t.mu.Lock()
		more := len(t.waiting) > 0
		t.going = more
		t.mu.Unlock()
		if !more {
			return
		}
		t.turn(s)
		t.last = time.Now()
	}
}

func (t *turns) turn(s Source) {
	ctx, cancel := context.WithTimeout(context.Background(), lookLimit)
	defer cancel()
	asked := time.Now()
	err := s.Together(ctx, func(ctx context.Context) error {
		t.contended = time.Since(asked) > contention
		for begun := time.Now(); time.Since(begun) < turnLimit; {
			look, there := t.next()
			if !there {
				return nil
			}
			look.done <- look.safely(ctx)
		}
		return nil
	})
	for err != nil { // there was no turn: nobody of those who wait has one
		look, there := t.next()
		if !there {
			return
		}
		look.done <- err
	}
}

// next is the look that has waited longest.
func (t *turns) next() (look waitingLook, there bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		return look, false
	}
	look = t.waiting[0]
	t.waiting = t.waiting[1:]
	return look, true
}
