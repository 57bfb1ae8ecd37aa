package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

func (a *app) cancelCommand() *cobra.Command {
	var what batch.CancelRequest
	c := &cobra.Command{
		Use:   "cancel BATCH [--row PAYMENT_ID]",
		Short: "Cancel payouts that cannot have become a payment",
		Long: `Cancel the payouts of a batch, or one row of it, of which nothing can have become a
payment: what was not sent, and what the gate surely turned away. Their ids are free
for another file. What was sent, or may have been, is left as it is.`,
		Args: args(1, 1, "a batch; masspay status lists them"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.cancel(cmd.Context(), args[0], what)
		},
	}
	c.Flags().StringVar(&what.Row, "row", "", "only the row with this `PAYMENT_ID`")
	c.Flags().BoolVar(&what.Shared, "shared", false, "also rows that other batches contain; they are cancelled there, too")
	return c
}

func (a *app) cancel(ctx context.Context, id string, what batch.CancelRequest) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	// A copy does not know what the lost store sent.
	if err := mayRun(ctx, s, false); err != nil {
		return err
	}
	b, err := a.batch(ctx, s, id)
	if err != nil {
		return err
	}
	if err := a.record(ctx, c, s, "cancel", "", b.ID); err != nil {
		return err
	}
	what.Batch, what.Person = b.ID, person()
	did, err := batch.Cancel(ctx, s, what)
	if err != nil {
		return err
	}
	if what.Row != "" && did.Done+did.Shared == 0 {
		why, err := notCancelled(ctx, s, b, what.Row)
		if err != nil {
			return err
		}
		return failf(exitConfig, "masspay status "+b.Short()+" shows where its rows are", "%q of batch %s cannot be cancelled: %s; nothing was changed", what.Row, b.Short(), why)
	}
	if did.Done == 0 {
		a.say("batch %s (%s): nothing to cancel; nothing was changed", b.Short(), printable(b.Name))
	} else {
		a.say("batch %s (%s, loaded %s): cancelled %s: not paid and not to be paid by this batch; what was cancelled may come in another file, with the same id", b.Short(), printable(b.Name), b.LoadedAt.Format(time.RFC3339), count(did.Done, "payout"))
	}
	if did.Shared > 0 {
		a.say("left as they are: %s that another batch asks for too", count(did.Shared, "payout"))
		a.say("hint: %s cancels them for every batch", a.again("--shared"))
	}
	if did.Attempted > 0 {
		a.say("left as they are: %s that may have been sent, and that the gate may know", count(did.Attempted, "open payout"))
	}
	if did.Shared+did.Attempted > 0 {
		return endWith(exitOpen)
	}
	return nil
}

// notCancelled says why a row of a batch was not cancelled.
func notCancelled(ctx context.Context, s store.Store, b store.Batch, id string) (string, error) {
	for rec, err := range s.List(ctx, store.Filter{Batch: b.ID}) {
		if err != nil {
			return "", err
		}
		switch {
		case rec.Key.PaymentID != id:
		case rec.State == payout.StateNew && !rec.OfAnother():
			return "an attempt of it got no answer; to give it up: masspay resolve " + result.ShellWord(id) + " --as not-paid --reason TEXT", nil
		case rec.State.Open():
			return "it may have been sent, and the gate may know it", nil
		default:
			return "it is " + result.StateOf(rec.Payout), nil
		}
	}
	return "the batch has no such row", nil
}
