package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

func (a *app) reconcileCommand() *cobra.Command {
	var results bool
	c := &cobra.Command{
		Use:   "reconcile [BATCH]",
		Short: "Poll the status of open payouts; sends nothing",
		Long: `Poll the status of open payouts, of one batch or of all. Sends nothing.

The exit code is 0 when nothing is open and nothing must be checked by a person, else
4. With --results the results that are out of date are written again, where
their runs wrote them.`,
		Args: args(0, 1, "at most one batch"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			return a.reconcile(cmd.Context(), id, results)
		},
	}
	c.Flags().BoolVar(&results, "results", false, "write the results that are out of date again, where their runs wrote them")
	return c
}

func (a *app) reconcile(ctx context.Context, id string, results bool) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if id != "" {
		b, err := a.batch(ctx, s, id)
		if err != nil {
			return err
		}
		id = b.ID
	}
	if err := c.noExample(); err != nil {
		return err
	}
	client, closeGate, err := c.gateClient(s)
	if err != nil {
		return err
	}
	defer closeGate()
	a.ran.headed = true
	if err := a.record(ctx, c, s, "reconcile", "", id); err != nil {
		return err
	}
	defer a.figures(ctx, c, s)()
	q := c.reconciler(a.engine(s), client, func(text string) { a.say("masspay: %s", text) })
	sum, err := q.Round(ctx, id)
	a.ran.end.Polled = sum.Answered
	if err != nil {
		return err
	}
	a.say("polled %s, %s changed%s; nothing was sent", count(sum.Answered, "payout"), payout.FormatNumber(sum.Changed), behind(": now ", becameWords(sum.Became)))
	if sum.TooEarly > 0 {
		a.say("%s sent less than %v ago left for later: the gate may not know of them yet", count(sum.TooEarly, "payout"), c.Gate.StatusAfter)
	}
	if !sum.Paused.IsZero() {
		a.say("not all were asked about: the gate wants requests to pause until %s", sum.Paused.UTC().Format(time.RFC3339))
	}
	for _, gate := range slices.Sorted(maps.Keys(sum.Elsewhere)) {
		a.say("%s sent to %s not polled: it cannot be reached from this configuration", count(sum.Elsewhere[gate], "payout"), gate)
	}
	if sum.Refused != "" {
		return failf(exitConfig, "masspay ping says what is wrong", "%s; nothing was sent", sum.Refused)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var failed error
	if results {
		failed = a.rewrite(ctx, c, s, id, sum.Batches)
	}
	code, err := a.openCode(ctx, s, id)
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	return endWith(code)
}

// becameWords says in which state is what changed.
func becameWords(became map[string]int) string {
	var parts []string
	for _, word := range result.States {
		if n := became[word]; n > 0 {
			parts = append(parts, payout.FormatNumber(n)+" "+word)
		}
	}
	return strings.Join(parts, ", ")
}

// openCode is the exit code of what is open of a batch, or of all, and says when it is
// polled next.
func (a *app) openCode(ctx context.Context, s store.Store, id string) (int, error) {
	code, open := exitDone, 0
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return 0, err
		}
		if id != "" && b.ID != id {
			continue
		}
		sent := b.Waiting() - b.Unsent()
		if sent > 0 {
			a.say("batch %s (%s): %s still open, perhaps paid", b.Short(), printable(b.Name), count(sent, "payout"))
		}
		if n := b.Unsent(); n > 0 {
			a.say("batch %s (%s): %s not sent; to send them: masspay run --batch %s -o %s", b.Short(), printable(b.Name), count(n, "payout"), b.Short(), shellWord(suggested("", b.Name, "result")))
		}
		if n := checks(b) + b.Open() - b.Waiting() - openChecks(b); n > 0 {
			a.say("batch %s (%s): %s must be checked by a person: see result.note", b.Short(), printable(b.Name), count(n, "payout"))
			code = exitOpen
		}
		open += sent
		if sent+b.Unsent() > 0 {
			code = exitOpen
		}
	}
	if open == 0 {
		return code, nil
	}
	next, err := s.NextDue(ctx)
	switch {
	case err != nil || next.IsZero():
	case next.Before(time.Now()):
		a.say("the next poll is due now")
	default:
		a.say("the next poll is due at %s", next.UTC().Format(time.RFC3339))
	}
	return code, err
}

// rewrite writes the results of batches again, each where its last run wrote it. What is
// there must be what masspay has written there of that batch: neither another batch's result nor
// one that a person has added to is replaced.
func (a *app) rewrite(ctx context.Context, c *config, s store.Store, id string, numbers map[uint32]bool) error {
	files, err := resultFiles(ctx, s)
	if err != nil {
		return err
	}
	var failed error
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return err
		}
		run, ok := files.ofRun[b.ID]
		if !ok || id != "" && b.ID != id || !numbers[b.Number] && !b.ChangedAt.After(run.End.ResultAt) {
			continue
		}
		was := *run.End
		there := files.there[was.Result]
		if there.Batch != b.ID {
			continue // that was told when it was replaced
		}
		o := a.output(c, outputFlags{name: was.Result})
		if path, sum := o.fingerprint(ctx, was.Result); path != was.Result || sum != there.End.ResultSum {
			a.say("batch %s (%s) changed; its result is not written again: %s is not what masspay has written there", b.Short(), printable(b.Name), was.Result)
			a.say("hint: to write it: masspay report %s -o %s", b.Short(), shellWord(freeName(was.Result)))
			continue
		}
		if err := errors.Join(o.check(ctx, s), o.loaded(b)); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		was.ResultAt = time.Now().UTC()
		w, err := o.write(ctx, ctx, s, b)
		if failed = errors.Join(failed, err); err == nil {
			_, was.ResultSum = o.fingerprint(ctx, w.path)
			failed = errors.Join(failed, s.EndRun(ctx, run.Number, was))
			a.say("result: %s", w.path)
			o.tell(w, b)
		}
	}
	return failed
}
