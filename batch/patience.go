package batch

import (
	"context"
	"errors"
	"time"

	"masspay/store"

	"github.com/cenkalti/backoff/v4"
)

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

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
