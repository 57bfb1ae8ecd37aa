package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"masspay/batch/payfile"
	"masspay/payout"
	"masspay/store"
)

// load brings the file into the store, unless it is there. done says that
// there is nothing more to do.
func (a *app) load(ctx context.Context, c *config, s store.Store, files []string, f runFlags) (b store.Batch, done bool, err error) {
	if f.batch != "" {
		if b, err = a.batch(ctx, s, f.batch); err != nil {
			return b, false, err
		}
		return b, f.dryRun, a.known(ctx, c, s, b, "", "", f)
	}
	in, err := payfile.Open(files[0], a.w.stdin)
	if err != nil {
		return b, false, err
	}
	defer func() { _ = in.Close() }()
	if b, err = payfile.LoadedAs(ctx, s, in); err == nil {
		return b, f.dryRun, a.known(ctx, c, s, b, files[0], in.Name, f)
	}
	if !errors.Is(err, store.ErrNoBatch) {
		return b, false, err
	}
	k, err := a.checked(ctx, c, s, files[0], in, f.expect, f.skip)
	if err != nil {
		return b, false, err
	}
	for _, p := range k.Problems {
		a.say("left out: %s: %s", k.Name, p)
	}
	if f.dryRun {
		a.say("dry run: %s: %s would be sent, %s, %s known already, %s left out; nothing was written or sent",
			printable(k.Name), count(k.ToSend.Rows, "payout"), money(k.ToSend), payout.FormatNumber(k.Before.Rows), payout.FormatNumber(k.Skipped))
		return b, true, nil
	}
	var approvals []store.Approval
	if c.Approval.SignersFile != "" {
		if approvals, err = approvalsBeside(files[0]); err != nil {
			return b, false, err
		}
	}
	if approvals, err = a.released(c, files[0], files[0], approvals, k.Content); err != nil {
		return b, false, err
	}
	if err := a.confirmSending(ctx, c, files[0], k.ToSend, knownOf(k.Before), f.output.name, f.yes); err != nil {
		return b, false, err
	}
	k.Held = f.first.Hold(person())
	limits, _ := c.Limits.rules() // validated before
	var allow []store.Allowance
	if a, limited := limits.Allowance(k.Name, c.Limits.dayBegan(time.Now())); limited {
		allow = append(allow, a)
	}
	if a, refused := k.Meanwhile(c.Lookalikes.lookalikes(f.expect.accept, time.Now())); refused {
		allow = append(allow, a)
	}
	loaded, err := k.Load(ctx, s, in, approvals, allow...)
	if errors.Is(err, store.ErrLoaded) {
		b, err = s.Batch(ctx, k.ID) // another process was quicker with the same file
		return b, false, err
	}
	if err != nil {
		return b, false, err
	}
	a.say("batch %s: %s, %s: %s new, %s known already%s", loaded.Batch.Short(), count(loaded.Batch.Rows, "row"), amounts(loaded.Batch.Totals),
		payout.FormatNumber(loaded.New), payout.FormatNumber(loaded.Known), leftOut(loaded.Batch.Skipped))
	if is := loaded.Batch.Series; is != nil {
		a.say("series %s: %s; the next file is %s", is.Name, payout.FormatNumber(is.Number), payout.FormatNumber(is.Number+1))
	}
	if n := loaded.Batch.Unsent(); n > 0 {
		if f.askFirst {
			a.say("asking the gate about %s first, twice with %v between: nothing is sent before that", count(n, "payout"), c.Gate.QuietPeriod)
		} else {
			a.say("%s", forecast(n, c.Gate.Rate, time.Now()))
		}
	}
	return loaded.Batch, false, nil
}

func leftOut(n int) string {
	if n == 0 {
		return ""
	}
	return ", " + payout.FormatNumber(n) + " left out"
}

// known goes on with a batch that is loaded already; control totals hold all
// the same.
func (a *app) known(ctx context.Context, c *config, s store.Store, b store.Batch, path, file string, f runFlags) error {
	want, err := f.expect.expect(c, path)
	if err != nil {
		return err
	}
	if err := want.Loaded(b); err != nil {
		return err
	}
	if s := want.Sidecar; s != nil && s.Series != nil && (b.Series == nil || *b.Series != *s.Series) {
		was := "without a number"
		if b.Series != nil {
			was = fmt.Sprintf("as %s of series %s", payout.FormatNumber(b.Series.Number), b.Series.Name)
		}
		return failf(exitFile, fmt.Sprintf("if it is the right file, take the series out of %s, and masspay series %s --next %d --reason TEXT passes over its number", shellWord(s.Name), s.Series.Name, s.Series.Number+1),
			"%s: the same file was loaded %s (batch %s), and %s calls it %s of series %s; nothing was sent", printable(file), was, b.Short(), s.Name, payout.FormatNumber(s.Series.Number), s.Series.Name)
	}
	what := "going on"
	if f.dryRun {
		what = "dry run: " + count(b.Unsent(), "payout") + " would be sent; nothing was written or sent"
	}
	named := printable(b.Name)
	if file != "" && filepath.Base(file) != b.Name {
		named = "as " + named + ", with the same content"
	}
	a.say("batch %s is loaded already (%s, %s, %s not sent yet): %s", b.Short(), named, count(b.Rows, "row"), payout.FormatNumber(b.Unsent()), what)
	if err := a.sayCancelled(ctx, s, b); err != nil || f.dryRun {
		return err
	}
	if err := a.mayStillBeSent(ctx, c, s, b, path); err != nil {
		return err
	}
	sum := tally(b)
	return a.confirmSending(ctx, c, b.Name, sum.Unsent, less(knownOf(sum), sum.Unsent), f.output.name, f.yes)
}

// sayCancelled says which rows of a batch were cancelled: they are not paid by it.
func (a *app) sayCancelled(ctx context.Context, s store.Store, b store.Batch) error {
	n := b.InState(payout.StateCancelled)
	if n == 0 {
		return nil
	}
	const shown = 5
	var ids []string
	for rec, err := range s.List(ctx, store.Filter{Batch: b.ID, States: []payout.State{payout.StateCancelled}}) {
		if err != nil {
			return err
		}
		if ids = append(ids, rec.Key.PaymentID); len(ids) == shown {
			break
		}
	}
	list := strings.Join(ids, ", ")
	if n > len(ids) {
		list += " and " + payout.FormatNumber(n-len(ids)) + " more"
	}
	a.say("%s of this batch cancelled, not paid by it (%s); to pay them, put them into another file", count(n, "payout"), list)
	return nil
}
