// Package work hands the turns of batches to many machines. River distributes them: it
// knows which machine takes which turn, tries again, and cleans up. It decides nothing
// about money: whether a payout may be sent, whether a process is dead, the rate and the
// order are the store's, and a turn that is run twice at once, or not at all, changes only
// how long things take. What River keeps may be emptied at any moment.
//
// It is the only package that imports River.
package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"masspay/store"
)

// Schema is the schema of River's tables.
const Schema = "river"

// A turn is a minute of a batch's work at the most. What River allows it is longer, so that
// it never cuts one off: that would only be met again by the next one, but late.
const (
	turnLength  = time.Minute
	turnTimeout = 2 * time.Minute
	rescueAfter = 3 * time.Minute // of a machine that died in a turn
	retryAfter  = 10 * time.Second
	sweepEvery  = time.Minute
	manyTimes   = 30_000 // attempts: a turn is never given up
)

// Options are what a machine works with.
type Options struct {
	Pool   *pgxpool.Pool
	Schema string        // empty: Schema
	Shares int           // turns of one batch at once, over all machines
	Drain  time.Duration // how long requests under way are waited for in the end

	// Turn works on a batch until the context ends, or there is nothing to do for a while:
	// until it says when to go on, or that the batch is done. Its ErrFenced ends Run.
	Turn func(ctx context.Context, batch string) (next time.Duration, done bool, err error)

	// Deaths is how many machines were ever taken for dead. When it rises, the turns of the
	// dead are given to others: River itself would find out minutes later.
	Deaths func(ctx context.Context) (int64, error)

	// Open lists the batches, by their ids, that have something to send or to wait for.
	Open func(ctx context.Context) ([]string, error)

	Log *slog.Logger
}

// Prepare makes or migrates River's tables, in a schema of their own.
func Prepare(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	if schema == "" {
		schema = Schema
	}
	if _, err := pool.Exec(ctx, `create schema if not exists `+pgx.Identifier{schema}.Sanitize()); err != nil {
		return fmt.Errorf("schema %s: %w", schema, err)
	}
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// Hand inserts the turns of batches where they are missing, for whichever machine takes
// them.
func Hand(ctx context.Context, o Options, batches ...string) error {
	if len(batches) == 0 {
		return nil
	}
	c, err := river.NewClient(riverpgxv5.New(o.Pool), &river.Config{Schema: o.schema(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	deaths, err := o.Deaths(ctx)
	if err != nil {
		return err
	}
	_, err = c.InsertMany(ctx, turns(batches, o.Shares, deaths))
	return err
}

func (o Options) schema() string {
	if o.Schema == "" {
		return Schema
	}
	return o.Schema
}

func turns(batches []string, shares int, deaths int64) (all []river.InsertManyParams) {
	for _, b := range batches {
		for share := range max(shares, 1) {
			all = append(all, river.InsertManyParams{Args: turnArgs{Batch: b, Share: share, Deaths: deaths}})
		}
	}
	return all
}

// Run works until the context ends, and waits then for the requests that are under way. A
// machine that is taken for dead ends with store.ErrFenced, and must be started again.
func Run(ctx context.Context, o Options) error {
	ctx, fenced := context.WithCancelCause(ctx)
	defer fenced(nil)
	workers := river.NewWorkers()
	river.AddWorker(workers, &turnWorker{o: o, fenced: fenced, working: map[string]bool{}})
	river.AddWorker(workers, &sweepWorker{o: o})
	c, err := river.NewClient(riverpgxv5.New(o.Pool), &river.Config{
		Schema: o.schema(), Workers: workers, Logger: o.Log, PollOnly: true, // nothing hangs on a session
		Queues:     map[string]river.QueueConfig{queueSend: {MaxWorkers: 4}, queueSide: {MaxWorkers: 1}},
		JobTimeout: turnTimeout, RescueStuckJobsAfter: rescueAfter, MaxAttempts: manyTimes,
		PeriodicJobs: []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(sweepEvery), func() (river.JobArgs, *river.InsertOpts) {
			return sweepArgs{}, nil
		}, &river.PeriodicJobOpts{RunOnStart: true})},
	})
	if err != nil {
		return err
	}
	if err := c.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	o.watch(ctx, c)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Drain)
	defer cancel()
	err = c.StopAndCancel(drain)
	if cause := context.Cause(ctx); errors.Is(cause, store.ErrFenced) {
		return cause
	}
	return err
}

// watchEvery is how often a machine looks whether another one has died.
const watchEvery = 2 * time.Second

// watch hands out turns when it begins and whenever a machine has died, until the context
// ends.
func (o Options) watch(ctx context.Context, c *river.Client[pgx.Tx]) {
	known := int64(-1)
	for {
		deaths, err := o.Deaths(ctx)
		if err == nil && deaths != known {
			if _, err = o.hand(ctx, c, deaths); err == nil {
				known = deaths
			}
		}
		if err != nil && ctx.Err() == nil {
			o.Log.Warn("turns not handed out; tried again", "reason", err.Error())
		}
		t := time.NewTimer(watchEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// hand inserts the turns of all open batches that are missing.
func (o Options) hand(ctx context.Context, c *river.Client[pgx.Tx], deaths int64) (n int, err error) {
	open, err := o.Open(ctx)
	if err != nil || len(open) == 0 {
		return 0, err
	}
	results, err := c.InsertMany(ctx, turns(open, o.Shares, deaths))
	for _, r := range results {
		if !r.UniqueSkippedAsDuplicate {
			n++
		}
	}
	return n, err
}

// Grant gives a role what Hand and Run need.
func Grant(ctx context.Context, pool *pgxpool.Pool, schema, role string) error {
	if schema == "" {
		schema = Schema
	}
	in, name := pgx.Identifier{schema}.Sanitize(), pgx.Identifier{role}.Sanitize()
	for _, statement := range []string{
		`grant usage on schema ` + in + ` to ` + name,
		`grant select, insert, update, delete, truncate on all tables in schema ` + in + ` to ` + name,
		`grant usage, select on all sequences in schema ` + in + ` to ` + name,
	} {
		if _, err := pool.Exec(ctx, statement); err != nil {
			return fmt.Errorf("rights of %s in schema %s: %w", role, schema, err)
		}
	}
	return nil
}
