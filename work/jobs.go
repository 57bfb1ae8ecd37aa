package work

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"masspay/store"
)

// Queues: what sends waits for nothing else.
const (
	queueSend = "send"
	queueSide = "side"
)

// unique are the states in which a job keeps another one like it from being inserted: one
// that is through does not.
var unique = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled,
}

// turnArgs is a turn of a batch. It names no payout and no person.
type turnArgs struct {
	Batch string `json:"batch" river:"unique"` // id
	Share int    `json:"share" river:"unique"`

	// Deaths is how many machines had died when it was handed out. A turn of before the
	// last death is not gone on with: all turns were handed out again then.
	Deaths int64 `json:"deaths" river:"unique"`
}

// Kind is River's name of the job.
func (turnArgs) Kind() string { return "turn" }

// InsertOpts are those of every turn.
func (turnArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSend, MaxAttempts: manyTimes, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: unique}}
}

// otherMachine is for how long a turn is left to other machines.
const otherMachine = 2 * time.Second

type turnWorker struct {
	river.WorkerDefaults[turnArgs]
	o      Options
	fenced context.CancelCauseFunc

	mu      sync.Mutex
	working map[string]bool // batches that this machine has a turn of
}

// begin takes a batch for this machine: a second turn of it would not make it faster, and
// is better taken by another machine.
func (w *turnWorker) begin(batch string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.working[batch] {
		return false
	}
	w.working[batch] = true
	return true
}

func (w *turnWorker) end(batch string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.working, batch)
}

// Timeout is what River allows a turn.
func (w *turnWorker) Timeout(*river.Job[turnArgs]) time.Duration { return turnTimeout }

// NextRetry is when a turn that failed is tried again.
func (w *turnWorker) NextRetry(*river.Job[turnArgs]) time.Time { return time.Now().Add(retryAfter) }

// Work is one turn.
func (w *turnWorker) Work(ctx context.Context, job *river.Job[turnArgs]) error {
	deaths, err := w.o.Deaths(ctx)
	if err != nil {
		return err
	}
	if job.Args.Deaths < deaths {
		_, err := w.o.hand(ctx, river.ClientFromContext[pgx.Tx](ctx), deaths)
		return err
	}
	if !w.begin(job.Args.Batch) {
		return river.JobSnooze(otherMachine)
	}
	defer w.end(job.Args.Batch)
	turn, cancel := context.WithTimeout(ctx, turnLength)
	defer cancel()
	next, done, err := w.o.Turn(turn, job.Args.Batch)
	switch {
	case errors.Is(err, store.ErrFenced):
		w.fenced(err)
		return river.JobSnooze(0) // another machine's
	case err != nil && ctx.Err() == nil:
		return err
	case done:
		return nil
	}
	return river.JobSnooze(max(next, 0))
}

// sweepArgs is a look for batches that have no turns.
type sweepArgs struct{}

// Kind is River's name of the job.
func (sweepArgs) Kind() string { return "sweep" }

// InsertOpts are those of every sweep.
func (sweepArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSide, MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByState: unique}}
}

type sweepWorker struct {
	river.WorkerDefaults[sweepArgs]
	o Options
}

// Work inserts the turns that are missing.
func (w *sweepWorker) Work(ctx context.Context, _ *river.Job[sweepArgs]) error {
	deaths, err := w.o.Deaths(ctx)
	if err != nil {
		return err
	}
	n, err := w.o.hand(ctx, river.ClientFromContext[pgx.Tx](ctx), deaths)
	if n > 0 {
		w.o.Log.Info("batches handed to the machines", "turns", n)
	}
	return err
}
