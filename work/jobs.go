package work

import (
	"context"
	"errors"
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
}

// Kind is River's name of the job.
func (turnArgs) Kind() string { return "turn" }

// InsertOpts are those of every turn.
func (turnArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSend, MaxAttempts: manyTimes, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: unique}}
}

type turnWorker struct {
	river.WorkerDefaults[turnArgs]
	o      Options
	fenced context.CancelCauseFunc
}

// Timeout is what River allows a turn.
func (w *turnWorker) Timeout(*river.Job[turnArgs]) time.Duration { return turnTimeout }

// NextRetry is when a turn that failed is tried again.
func (w *turnWorker) NextRetry(*river.Job[turnArgs]) time.Time { return time.Now().Add(retryAfter) }

// Work is one turn.
func (w *turnWorker) Work(ctx context.Context, job *river.Job[turnArgs]) error {
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
	open, err := w.o.Open(ctx)
	if err != nil {
		return err
	}
	n, err := insert(ctx, river.ClientFromContext[pgx.Tx](ctx), open, w.o.Shares)
	if n > 0 {
		w.o.Log.Info("batches handed to the machines", "turns", n)
	}
	return err
}
