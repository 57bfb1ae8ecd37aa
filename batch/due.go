package batch

import (
	"context"
	"time"

	"masspay/store"
)

// reconciler polls as a run is configured to.
func (r *running) reconciler() *Reconciler {
	return &Reconciler{
		Store: r.Store, Gate: r.Gate, Workers: r.Workers, Timeout: r.Timeout, StatusAfter: r.StatusAfter,
		Aliases: r.Aliases, Others: r.Others, Notify: r.Notify,
	}
}

// reconcile asks about the batch's open payouts as they come due, while nothing
// waits to be sent: sends go before polls. It looks for dead processes too.
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
		if !r.state.resting() {
			continue
		}
		if err := r.pollOwn(ctx, q); err != nil {
			return unlessDone(ctx, err)
		}
	}
}

// pollOwn asks about what is due, group by group, until nothing is or something
// became free to send.
func (r *running) pollOwn(ctx context.Context, q *Reconciler) error {
	for ctx.Err() == nil && r.state.resting() {
		due, err := r.Store.Due(ctx, store.Due{Batch: r.batch, Gate: q.Gate.Identity(), N: pollGroup, Lease: r.lease()})
		if err != nil {
			return unlessBusy(err)
		}
		if len(due) == 0 {
			return nil
		}
		a, err := q.pollSome(ctx, due)
		r.state.polls(a.Answered)
		if err != nil {
			return err
		}
		if a.Refused != "" {
			r.stop(&r.out.Refused, a.Refused+"; sending stopped")
			if !r.state.isProven() {
				r.state.end()
			}
			return nil
		}
		if a.Answered > 0 && !r.state.isProven() {
			proven, err := r.Store.Proven(ctx, q.Gate.Identity())
			if err != nil {
				return err
			}
			r.state.prove(proven)
		}
		if a.Answered == 0 {
			return nil // paused
		}
		if a.Freed > 0 {
			r.state.free()
		}
	}
	return nil
}

// lease is for how long what this run is about to poll is due for no other run.
func (r *running) lease() time.Duration { return 2 * r.Timeout }
