package payfile

import (
	"context"
	"iter"
	"runtime"
	"sync"
)

// inOrder works on pieces on all cores, each with a worker of its own, and yields what
// came of them in their order. It stops, and has stopped when it returns, with the first
// error or when the caller does; few results wait at a time.
func inOrder[T any](ctx context.Context, from iter.Seq2[piece, error], newWorker func() func(piece) (T, error)) iter.Seq2[T, error] {
	type result struct {
		value T
		err   error
	}
	type job struct {
		piece
		done chan result
	}
	return func(yield func(T, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		var workers sync.WaitGroup
		defer workers.Wait()
		defer stop()
		n := runtime.GOMAXPROCS(0)
		jobs, ordered := make(chan job), make(chan job, 2*n)
		workers.Go(func() {
			defer close(ordered)
			defer close(jobs)
			for p, err := range from {
				j := job{piece: p, done: make(chan result, 1)}
				if err != nil {
					j.done <- result{err: err}
				}
				select {
				case ordered <- j:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
				select {
				case jobs <- j:
				case <-ctx.Done():
					return
				}
			}
		})
		for range n {
			work := newWorker()
			workers.Go(func() {
				for j := range jobs {
					v, err := work(j.piece)
					j.done <- result{v, err}
				}
			})
		}
		for j := range ordered {
			var r result
			select {
			case r = <-j.done:
			case <-ctx.Done():
				r.err = ctx.Err()
			}
			if !yield(r.value, r.err) || r.err != nil {
				return
			}
		}
		// Dangerous to leave out: what was cut short must not look whole.
		if err := ctx.Err(); err != nil {
			var none T
			yield(none, err)
		}
	}
}
