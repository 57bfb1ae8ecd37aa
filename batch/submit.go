package batch

import (
	"context"
	"errors"
	"sync"

	"masspay/store"
)

// submit sends the batch: one goroutine claims, many send, one records what came back. It
// returns when the context ends and everything that was claimed has been recorded, or with
// an error of the store.
func (r *running) submit(ctx context.Context, halted <-chan struct{}) error {
	sending, abort := context.WithCancel(ctx)
	defer abort()
	// Whoever waits for a slot of the rate as sending stops does not send; what has left
	// is not cut off.
	waiting, giveUp := context.WithCancel(sending)
	defer giveUp()
	go func() {
		select {
		case <-halted:
			giveUp()
		case <-waiting.Done():
		}
	}()
	work := make(chan *store.Claimed, mostAhead)
	rec := r.recorder(abort)
	recording, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var recorder sync.WaitGroup
	recorder.Go(func() { rec.Run(recording) })

	var failed error
	var claimer sync.WaitGroup
	claimer.Go(func() {
		defer close(work)
		if failed = r.claim(sending, work); failed != nil {
			abort()
		}
	})
	var senders sync.WaitGroup
	for range r.Workers {
		senders.Go(func() {
			for c := range work {
				e, _ := r.send(waiting, c)
				rec.Put(e, rec.wrote)
			}
		})
	}
	senders.Wait()
	claimer.Wait()
	stop()
	recorder.Wait()
	// The claimer may have ended before it saw that sending stopped.
	held := r.hold(ctx)
	if err := rec.err(); err != nil {
		return errors.Join(err, held)
	}
	return errors.Join(failed, held)
}
