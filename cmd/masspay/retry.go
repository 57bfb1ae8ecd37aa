package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"masspay/batch/payfile"
	"masspay/payout"
)

func (a *app) retryCommand() *cobra.Command {
	var r payfile.RetryOptions
	var name string
	c := &cobra.Command{
		Use:   "retry BATCH -o FILE",
		Short: "Write a file of the rows that were not paid and may be paid again, under new ids",
		Long: `Write a file of the rows of a batch that were not paid and may be paid again
(result.action "new id"), ready to check and run. Cells are unchanged but for the
payment_id: payment_47 becomes payment_47-r2, then -r3. It sends nothing and keeps
nothing: until the file is run, the same command makes the same rows. A file that is
there with other rows is not overwritten.

What may have been paid is never in it, nor the rest of a partial payout. check and run
refuse such an id too while its first payout, or another retry of it, is open, paid,
to be checked, or refused for good.`,
		Args: args(1, 1, "a batch; masspay status lists them"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.retry(cmd.Context(), args[0], name, r)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&name, "output", "o", "", "write the rows to this new `FILE` (default: standard output)")
	fl.BoolVar(&r.WithFix, "with-fix", false, "also rows with result.action \"fix row\", as they are: what was wrong with them must have been mended elsewhere")
	fl.BoolVar(&r.WithResolved, "with-resolved", false, "also rows that a person found unpaid (masspay resolve --as not-paid), or that came back and a person has seen it")
	return c
}

func (a *app) retry(ctx context.Context, id, name string, r payfile.RetryOptions) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := mayRun(ctx, s, false); err != nil {
		return err // a copy does not know what the lost store has paid
	}
	b, err := a.batch(ctx, s, id)
	if err != nil {
		return err
	}
	if err := a.record(ctx, c, s, "retry -o "+cmp.Or(shellWord(name), "-"), b.Name, b.ID); err != nil {
		return err
	}
	var text bytes.Buffer
	made, err := r.Write(ctx, s, b, &text)
	if err != nil {
		return err
	}
	a.leftOut(made)
	if made.Rows == 0 {
		a.say("batch %s (%s): no row may be paid again under a new id; no file was written", b.Short(), printable(b.Name))
		return nil
	}
	if name == "" || standardOutput(name) {
		_, err = io.Copy(a.w.stdout, &text)
		return err
	}
	perm, err := c.Result.perm()
	if err != nil {
		return err
	}
	if err := a.writeRetry(name, text.Bytes(), perm); err != nil {
		return err
	}
	a.say("%s: %s, %s, to be paid again under new ids; nothing was sent", printable(name), count(made.Rows, "payout"), money(made.Sum))
	a.say("hint: masspay check %s", shellWord(name))
	return nil
}

// writeRetry writes a new file, which those may read who may read results, or finds it there
// already.
func (a *app) writeRetry(name string, text []byte, perm fs.FileMode) error {
	d, err := newDraft(filepath.Dir(name), filepath.Base(name))
	if err != nil {
		return err
	}
	defer d.discard()
	if _, err := d.Write(text); err != nil {
		return err
	}
	err = d.place(name, perm)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if was, read := os.ReadFile(name); read == nil && bytes.Equal(was, text) { //nolint:gosec // the name that the user gave
		return nil // as it was
	}
	return failf(exitConfig, "choose another name with -o, e.g. -o "+shellWord(freeName(name)), "%s exists and was not overwritten; nothing was written or sent", name)
}

// leftOut shows which rows that were not paid are not in a retry file, and why.
func (a *app) leftOut(made payfile.Retry) {
	if made.Count == 0 {
		return
	}
	a.say("%s of this batch left out of it:", count(made.Count, "row"))
	for _, l := range made.LeftOut {
		a.say("  line %d, %s: %s; %s", l.Line, printable(l.PaymentID), l.State, l.Why)
	}
	if more := made.Count - len(made.LeftOut); more > 0 {
		a.say("  %s", fmt.Sprintf("... and %s more", payout.FormatNumber(more)))
	}
}
