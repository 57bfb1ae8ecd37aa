package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/batch/payfile"
	"masspay/gate"
	"masspay/payout"
	"masspay/store"
	"masspay/work"
)

func (a *app) workCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "work",
		Short: "Send what other machines have loaded, as one of many (needs store.url)",
		Long: `Work on every batch of a store that many machines share, together with all other
machines that do: a minute of a batch at a time. Stop it with SIGTERM or Ctrl-C: it
waits for the answers to what it has sent. It never goes on with a batch that was
stopped or is held: masspay run does. A machine that others have taken for dead
exits with 1, to be started again.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.work(cmd.Context()) },
	}
}

// forOne refuses what needs a store that many machines share.
func forOne(what string) error {
	return failf(exitConfig, "masspay run sends by itself; docs/how-to/machines.md says when many machines are worth a database", "%s needs a store that many machines share (store.url); nothing was sent", what)
}

func (a *app) work(ctx context.Context) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := c.noExample(); err != nil {
		return err
	}
	o, ok := distribution(s)
	if !ok {
		return forOne("masspay work")
	}
	client, closeGate, err := c.gateClient(s)
	if err != nil {
		return err
	}
	defer closeGate()
	if err := mayRun(ctx, s, false); err != nil {
		return err
	}
	if err := a.record(ctx, c, s, "work", "", ""); err != nil {
		return err
	}
	if peopled, ok := s.(store.Peopled); ok {
		if err := peopled.Join(ctx); err != nil {
			return err
		}
	}
	w := &worker{c: c, s: a.engine(s), client: client, log: a.log(), looked: map[string]looked{}}
	o.Shares, o.Drain, o.Turn, o.Open, o.Log = c.Work.Shares, c.Gate.Timeout+5*time.Second, w.turn, w.open, quieter(w.log)
	w.log.Info("working", "store", c.Store.name(), "gate", client.Identity(), "shares", c.Work.Shares, "version", version)
	a.tellReady(ctx)
	err = work.Run(ctx, o)
	w.log.Info("stopped; what was sent is recorded")
	return err
}

// quieter hands on only warnings of River, each once in a while: a database that is away
// makes it say the same several times a second.
func quieter(log *slog.Logger) *slog.Logger {
	return slog.New(&warnings{Handler: log.Handler(), said: map[string]time.Time{}})
}

// sayAgain is how long a warning is not repeated.
const sayAgain = 30 * time.Second

type warnings struct {
	slog.Handler
	mu   sync.Mutex
	said map[string]time.Time // when, by what was said
}

// Enabled reports whether a record may be handed on.
func (h *warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// Handle hands a record on, unless it was said a moment ago.
func (h *warnings) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	again := r.Time.Sub(h.said[r.Message]) < sayAgain
	if !again {
		h.said[r.Message] = r.Time
	}
	h.mu.Unlock()
	if again {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs and WithGroup keep it as it is: who says the same, with whatever beside it.
func (h *warnings) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup is as WithAttrs.
func (h *warnings) WithGroup(string) slog.Handler { return h }

// worker works on turns.
type worker struct {
	c      *config
	s      store.Store
	client *gate.Client
	log    *slog.Logger

	mu     sync.Mutex
	looked map[string]looked // by batch
}

// How long a turn stays for outcomes when it has nothing to send, and how soon and how late
// it is taken up again.
const (
	turnWait    = 5 * time.Second
	soonestTurn = time.Second
	latestTurn  = time.Minute
)

// open lists what has something to send or to wait for, and is not held.
func (w *worker) open(ctx context.Context) (ids []string, err error) {
	for b, err := range w.s.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		if b.Waiting() > 0 && b.Held == nil {
			ids = append(ids, b.ID)
		}
	}
	return ids, nil
}

// turn works on a batch until the context ends, or there is nothing to do for a while.
func (w *worker) turn(ctx context.Context, id string) (next time.Duration, done bool, err error) {
	b, err := w.s.Batch(ctx, id)
	if err != nil || b.Held != nil || b.Waiting() <= 0 {
		if b.Held.Lasting() {
			w.forget(id) // the breaker starts from zero when a person lets it go
		}
		return 0, err == nil, err
	}
	allowed, err := w.allowed(ctx, b)
	if err != nil {
		return latestTurn, false, err
	}
	g := w.c.Gate
	log := w.log.With("batch", b.Short())
	now := time.Now()
	until, err := w.c.mayNow(now)
	if err != nil {
		until = now // outside the hours outcomes are still asked for
	}
	if !allowed {
		until = now // and for what may not be sent
	}
	runner := &batch.Runner{
		Store: w.s, Gate: w.client, Rate: g.Rate, Workers: g.Workers, Timeout: g.Timeout, Attempts: g.Attempts, MaxRefusals: g.MaxRefusals,
		StatusAfter: g.StatusAfter, Wait: turnWait, Aliases: w.c.aliases(), Others: w.c.otherGate(w.s), By: person(), KeepHold: true,
		Until: until, Breaker: w.c.Breakers.breaker(), Since: w.counted(b),
		Notify: func(text string) { log.Warn(text) },
	}
	out, err := runner.Run(ctx, id)
	if out.Sent > 0 || out.Polled > 0 {
		log.Info("turn", "requests", out.Sent, "polled", out.Polled)
	}
	switch {
	case errors.Is(err, store.ErrFenced), out.Fenced != "":
		return 0, false, errors.Join(store.ErrFenced, err)
	case err != nil || out.Interrupted:
		return 0, false, err // the turn is over, and another one goes on
	}
	return w.after(context.WithoutCancel(ctx), id, out)
}

// after says how a batch goes on after a turn that had nothing more to do.
func (w *worker) after(ctx context.Context, id string, out batch.Ending) (next time.Duration, done bool, err error) {
	b, err := w.s.Batch(ctx, id)
	if err != nil || b.Held != nil || b.Waiting() <= 0 {
		return 0, err == nil, err
	}
	if unsent := b.Unsent() - out.ElsewhereNew; unsent > 0 && unsent <= out.GivenUp && unsent == b.Waiting()-out.Elsewhere && out.Unreached == "" {
		// Each of them was turned away as often as a run allows: a person should know.
		hold := store.Hold{
			Kind: store.HeldByRun, By: person(), At: time.Now().UTC(),
			Reason: fmt.Sprintf("%s not sent after %s each", count(unsent, "payout"), count(w.c.Gate.Attempts, "attempt")),
		}
		w.log.Warn("batch stopped", "batch", b.Short(), "reason", hold.Reason)
		return 0, true, w.s.Hold(ctx, id, hold)
	}
	due, err := w.s.NextDue(ctx)
	if err != nil {
		return 0, false, err
	}
	return min(max(time.Until(due), soonestTurn), latestTurn), false, nil
}

// allowed reports whether a batch may be sent: by the limits, and by the approvals that it
// was loaded with. Its content is computed from what the store would send, once in
// the life of this process.
func (w *worker) allowed(ctx context.Context, b store.Batch) (bool, error) {
	if sendable(b) == 0 {
		return true, nil
	}
	w.mu.Lock()
	is, known := w.looked[b.ID]
	w.mu.Unlock()
	if !known {
		var err error
		if is, err = w.lookAt(ctx, b); err != nil {
			return false, err
		}
		w.mu.Lock()
		w.looked[b.ID] = is
		w.mu.Unlock()
	}
	list, err := w.c.signers()
	if err != nil {
		return false, err
	}
	missing := is.over
	if list != nil && missing == "" {
		missing = w.c.judge(list, b.Approvals, is.content).Missing
	}
	if missing != "" {
		w.log.Warn("not to be sent", "batch", b.Short(), "because", missing)
	}
	return missing == "", nil
}

// looked is what a worker has found a batch to be.
type looked struct {
	content payout.Content
	over    string         // which limit it is over, "": none
	since   batch.Verdicts // from where on the breaker counts
}

func (w *worker) lookAt(ctx context.Context, b store.Batch) (is looked, err error) {
	is.since = batch.VerdictsOf(b.Counts)
	if limits, _ := w.c.Limits.rules(); limits != nil {
		err := limits.Loaded(ctx, w.s, b)
		var over *payfile.FileError
		if errors.As(err, &over) {
			is.over = over.Problems[0].String()
		} else if err != nil {
			return is, err
		}
	}
	if w.c.Approval.SignersFile != "" {
		is.content, err = payfile.ContentOf(ctx, w.s, b)
	}
	return is, err
}

// counted is from where on the breaker counts.
func (w *worker) counted(b store.Batch) *batch.Verdicts {
	w.mu.Lock()
	defer w.mu.Unlock()
	if is, known := w.looked[b.ID]; known {
		return &is.since
	}
	return nil
}

func (w *worker) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.looked, id)
}
