package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
	"masspay/work"
)

// runFlags are the flags of run.
type runFlags struct {
	expect   expectFlags
	batch    string
	output   outputFlags
	until    string
	wait     time.Duration
	canary   int
	first    batch.Canary // made of it
	rate     float64
	workers  int
	dryRun   bool
	skip     bool
	askFirst bool
	detach   bool
	json     bool
	yes      bool

	rateSet, workersSet bool
}

// relaxed are the flags that take something off the checks, for the log.
func (f *runFlags) relaxed() (flags []string) {
	for _, v := range []struct {
		is   bool
		flag string
	}{
		{f.skip, "--skip-invalid"}, {f.askFirst, "--ask-first"}, {f.output.force, "--force"}, {f.yes, "--yes"},
		{f.expect.accept > 0, fmt.Sprint("--accept-lookalikes ", f.expect.accept)},
	} {
		if v.is {
			flags = append(flags, v.flag)
		}
	}
	return flags
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [FILE] [-o RESULT.csv]",
		Short: "Send what was not sent yet, wait for outcomes, write the result; safe to repeat",
		Long: `Check a file, send each row that was not sent yet, wait for the outcomes, and
write the result: every input row, in order, with its outcome.

It is safe to repeat: a payment_id is sent once for ever. Without -o the result
goes to standard output. FILE may be - for standard input.`,
		Args: args(0, 1, "one file, - for standard input, or --batch ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (f.batch != "") {
				return failf(exitConfig, "masspay run FILE -o RESULT.csv", "run: want a file or --batch ID, one of the two; nothing was sent")
			}
			if f.wait < 0 {
				return failf(exitConfig, "--wait 0 neither waits nor asks", "--wait %v: want a duration, not a negative one; nothing was sent", f.wait)
			}
			if f.canary < 0 || f.canary > 0 && f.detach {
				return failf(exitConfig, "--canary 10 sends ten payouts first, by a run of its own", "--canary %d: want a number of payouts, and no --detach; nothing was sent", f.canary)
			}
			if f.json && (f.output.name == "" || standardOutput(f.output.name)) {
				return failf(exitConfig, "masspay run FILE -o RESULT.csv --json", "--json needs -o and a file, because both would go to standard output; nothing was sent")
			}
			a.rememberLine(cmd, args)
			f.rateSet, f.workersSet = cmd.Flags().Changed("rate"), cmd.Flags().Changed("workers")
			return a.run(cmd.Context(), args, f)
		},
	}
	fl := c.Flags()
	f.expect.register(c)
	fl.StringVar(&f.batch, "batch", "", "go on with a loaded batch by its `ID`, when the file is gone")
	f.output.register(c)
	fl.DurationVar(&f.wait, "wait", 30*time.Minute, "how long to wait for outcomes after the last send; 0: neither wait nor poll")
	fl.IntVar(&f.canary, "canary", 0, "send the first `N` payouts, and the others only when all of these are paid; otherwise the batch is held until masspay resume")
	fl.StringVar(&f.until, "until", "", "stop sending at this time of the day, e.g. 06:00; another run goes on")
	fl.Float64Var(&f.rate, "rate", 0, "requests per second (default: gate.rate)")
	fl.IntVar(&f.workers, "workers", 0, "requests at once (default: gate.workers)")
	fl.BoolVar(&f.dryRun, "dry-run", false, "do everything but write and send")
	fl.BoolVar(&f.skip, "skip-invalid", false, "leave out rows with problems of their own; exit at least 3")
	fl.BoolVar(&f.askFirst, "ask-first", false, "the store is a restored copy, from now on and for every command, until masspay init --trust-store: ask the gate about each payout before sending it")
	fl.BoolVar(&f.yes, "yes", false, "do not ask before sending, on a terminal")
	fl.BoolVar(&f.detach, "detach", false, "load the file and leave it to the machines that run masspay work (needs store.url)")
	fl.BoolVar(&f.json, "json", false, "print the summary as JSON (needs -o)")
	return c
}

func (a *app) run(ctx context.Context, files []string, f runFlags) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if _, shared := distribution(s); f.detach && !shared {
		return forOne("--detach")
	}
	if f.detach && f.output.name != "" {
		return failf(exitConfig, "leave -o out; when the batch is through, masspay report writes the result", "--detach writes no result, so -o is of no use; nothing was sent")
	}
	if f.rateSet {
		if err := c.higher(f.rate); err != nil {
			return err
		}
		c.Gate.Rate = f.rate
	}
	if f.workersSet {
		c.Gate.Workers = f.workers
	}
	if problems := c.validate(); len(problems) > 0 {
		return configError("flags", problems)
	}
	if err := c.noExample(); err != nil {
		return err
	}
	client, closeGate, err := c.gateClient(s)
	if err != nil {
		return err
	}
	defer closeGate()
	if err := mayRun(ctx, s, f.askFirst); err != nil {
		return err
	}
	until, err := c.sendsUntil(f.until, time.Now())
	if err != nil && !f.dryRun {
		return err
	}
	o := a.output(c, f.output, files...)
	if !f.dryRun {
		if err := o.check(ctx, s); err != nil {
			return err
		}
	}
	if f.askFirst && !f.dryRun {
		if err := s.AskFirst(ctx); err != nil {
			return err
		}
	}
	typed := f.batch
	if len(files) == 1 {
		typed = files[0]
	}
	a.ran.headed, a.ran.relaxed = true, f.relaxed()
	f.first = batch.NewCanary(f.canary)
	b, done, err := a.load(ctx, c, a.engine(s), files, f)
	if err != nil && !f.dryRun && ctx.Err() == nil {
		// Refused runs are in the log, too. Where that fails, the error that matters is the
		// other one.
		_ = a.record(ctx, c, s, "run", typed, "")
	}
	if err != nil || done {
		return err
	}
	if err := a.notHeld(b, f.canary > 0); err != nil {
		return err
	}
	if err := o.loaded(b); err != nil {
		return err
	}
	command := "run"
	switch {
	case f.detach:
		command += " --detach"
	case f.batch != "":
		command += " --batch"
	}
	if f.canary > 0 {
		command += fmt.Sprint(" --canary ", f.canary)
	}
	if err := a.record(ctx, c, s, command, typed, b.ID); err != nil {
		return err
	}
	if f.detach {
		return a.detach(ctx, c, s, b)
	}
	defer a.figures(ctx, c, s)()
	runner := &batch.Runner{
		Store: a.engine(s), Gate: client, Rate: c.Gate.Rate, Workers: c.Gate.Workers, Timeout: c.Gate.Timeout,
		Attempts: c.Gate.Attempts, MaxRefusals: c.Gate.MaxRefusals, StatusAfter: c.Gate.StatusAfter,
		Until: until, Canary: f.first, Breaker: c.Breakers.breaker(), Wait: f.wait, AskFirst: f.askFirst, Aliases: c.aliases(), Others: c.otherGate(s), By: person(),
	}
	p := a.progress(s, b.ID, f.wait)
	runner.Notify, runner.Stopped = p.note, p.halted
	p.start(ctx)
	heard := context.AfterFunc(ctx, func() {
		p.note(fmt.Sprintf("interrupted: no more payouts are sent; waiting for the answers to those already sent, at most %v, and for the store, if that is away (a second Ctrl-C ends at once; the next run asks the gate about them)", c.Gate.Timeout))
	})
	defer heard()
	out, err := runner.Run(ctx, b.ID)
	p.stop()
	a.ran.end.Sent, a.ran.end.Polled = out.Sent, out.Polled
	if err == nil {
		err = a.finish(ctx, s, b, f, o, out)
	}
	return a.afterSending(err, b, out.Sent)
}

// detach leaves a batch to the machines that work.
func (a *app) detach(ctx context.Context, c *config, s store.Store, b store.Batch) error {
	o, ok := distribution(s)
	if !ok {
		return forOne("--detach")
	}
	o.Shares = c.Work.Shares
	if _, err := s.LetGo(ctx, b.ID, store.HeldByRun); err != nil {
		return err
	}
	if err := work.Hand(ctx, o, b.ID); err != nil {
		return fmt.Errorf("the batch is loaded, and its turns were not handed on (the machines find it within a minute): %w", err)
	}
	if b.Waiting() <= 0 {
		a.say("masspay: nothing of this batch waits any more")
		return endWith(outcomeCode(b, false))
	}
	a.say("masspay: %s left to the machines that run masspay work; nothing was sent by this one", count(b.Waiting(), "payout"))
	a.say("hint: to follow it: masspay status --watch %s", b.Short())
	a.say("hint: when it is through: masspay report %s -o %s", b.Short(), shellWord(suggested("", b.Name, "result")))
	return endWith(outcomeCode(b, false))
}

// afterSending keeps the errors of a run that has sent something from being
// explained as if it had not.
func (a *app) afterSending(err error, b store.Batch, sent int) error {
	var e *ended
	if err == nil || sent == 0 || errors.As(err, &e) {
		return err
	}
	return failf(exitUnexpected, a.onBatch(b.Short())+" goes on and writes the result; nothing is sent twice",
		"%w (this run has sent %s: what they are for may be paid, do not pay it elsewhere; the next run asks the gate)", err, count(sent, "request"))
}

// mayRun says early what Claim would refuse.
func mayRun(ctx context.Context, s store.Store, askFirst bool) error {
	if askFirst {
		return nil // whatever its marker says, and if there is none
	}
	restored, err := s.Restored(ctx)
	if err == nil && restored {
		err = store.ErrRestored
	}
	return err
}

// finish writes the result and says how it ended.
func (a *app) finish(patience context.Context, s store.Store, b store.Batch, f runFlags, o *output, out batch.Ending) error {
	ctx := context.WithoutCancel(patience) // an interrupted run has a result too
	id := b.ID
	b, err := s.Batch(ctx, id)
	for tries := 0; errors.Is(err, store.ErrBusy) && tries < 5; tries++ {
		b, err = s.Batch(ctx, id) // a long backup, say
	}
	if err != nil {
		return err
	}
	o.reporting.Sent = out.Now
	a.ran.end.ResultAt = time.Now().UTC()
	w, err := o.write(ctx, patience, s, b)
	if errors.Is(err, store.ErrDamaged) {
		return fmt.Errorf("the result was not written: %w", err)
	}
	if err != nil {
		return fmt.Errorf("the result was not written, masspay report %s writes it again: %w", b.Short(), err)
	}
	a.ran.end.Result, a.ran.end.ResultSum = o.fingerprint(ctx, w.path)
	a.ran.end.Text = sums(w.Summary, "")
	code := outcomeCode(b, f.wait <= 0)
	if left := b.InState(payout.StateAccepted); f.wait <= 0 && (w.BeforeOpen > 0 || code == exitNotAllPaid && left > 0) {
		code = exitOpen // accepted is only what was asked for where this run sent it
	}
	switch {
	case out.Interrupted, w.elsewhere != nil && patience.Err() != nil:
		code = exitInterrupted
	case w.elsewhere != nil:
		code = exitUnexpected // who takes the file that was asked for must not take it for the result
	case out.Fenced != "":
		code = exitUnexpected
	case out.Refused != "":
		code = exitConfig
	}
	if f.json {
		o.tell(w, b)
		report := runReport(b, w.Summary, out, code, w.path)
		if report.Earlier, err = earlierOf(ctx, s, w.Summary); err != nil {
			return err
		}
		return errors.Join(a.printJSON(report), endWith(code))
	}
	summaryTable(a.w.stderr, w.Summary)
	if err := a.ending(ctx, s, b, w, out, code, f.wait > 0); err != nil {
		return err
	}
	o.tell(w, b)
	return endWith(code)
}

// knownOf is all that a summary counts.
func knownOf(s result.Summary) (all result.Sum) {
	for _, part := range s.ByState {
		all = plus(all, part)
	}
	return all
}

func endWith(code int) error {
	if code == exitDone {
		return nil
	}
	return &ended{code}
}
