package web

import (
	"context"
	"errors"
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
}

type kept struct {
	value any
	at    time.Time
}

// How long a look is fresh, how long it serves where the store is busy, for how long a page
// waits for its turn when it has an older one, how long one may take, and how many are kept.
const (
	freshFor  = time.Second
	staleFor  = 10 * time.Minute
	patience  = 2 * time.Second
	lookLimit = 20 * time.Second
	mostLooks = 500
)

// look reads a thing from the store, or gives what was read within the last second. Where the
// store is busy it gives an older one, if there is one; at says of when it is.
func look[T any](ctx context.Context, p *Pages, key string, read func(ctx context.Context) (T, error)) (value T, at time.Time, err error) {
	l := &p.looks
	l.mu.Lock()
	had, there := l.kept[key]
	l.mu.Unlock()
	now := p.now()
	age := now.Sub(had.at)
	there = there && age >= 0 && age < staleFor
	old, _ := had.value.(T)
	if there && age < freshFor {
		return old, had.at, nil
	}
	result := l.flight.DoChan(key, func() (any, error) {
		reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookLimit) // others may wait for it
		defer cancel()
		at := p.now()
		var v T
		err := p.Source.Together(reading, func(ctx context.Context) (err error) {
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
		t := time.NewTimer(patience)
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
