package main

import (
	"context"

	"github.com/spf13/cobra"

	"masspay/batch"
)

func (a *app) cancelCommand() *cobra.Command {
	var shared bool
	c := &cobra.Command{
		Use:   "cancel BATCH",
		Short: "Give up what was never attempted",
		Long: `Give up the payouts of a batch of which nothing was ever sent. Their ids may
come back in another file. What was sent, or may have been, is left as it is.`,
		Args: args(1, 1, "a batch; masspay status lists them"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.cancel(cmd.Context(), args[0], shared) },
	}
	c.Flags().BoolVar(&shared, "shared", false, "also what other batches ask for; they lose it too")
	return c
}

func (a *app) cancel(ctx context.Context, id string, shared bool) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	// A copy does not know what the lost store sent.
	if err := mayRun(ctx, s, false); err != nil {
		return err
	}
	b, err := s.Batch(ctx, id)
	if err != nil {
		return err
	}
	if err := a.record(ctx, c, s, "cancel", "", b.ID); err != nil {
		return err
	}
	did, err := batch.Cancel(ctx, s, b.ID, shared)
	if err != nil {
		return err
	}
	a.say("batch %s: cancelled %s that nothing was sent of", b.Short(), count(did.Done, "payout"))
	if did.Shared > 0 {
		a.say("left as they are: %s that another batch asks for too", count(did.Shared, "payout"))
		a.say("hint: masspay cancel %s --shared gives them up for every batch", b.Short())
	}
	if did.Attempted > 0 {
		a.say("left as they are: %s that were attempted, and that the gate may know of", count(did.Attempted, "open payout"))
	}
	if did.Shared+did.Attempted > 0 {
		return endWith(exitOpen)
	}
	return nil
}
