package main

import (
	"context"

	"github.com/spf13/cobra"

	"masspay/batch"
)

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel BATCH",
		Short: "Give up what was never attempted",
		Long: `Give up the payouts of a batch of which nothing was ever sent. Their ids may
come back in another file. What was sent, or may have been, is left as it is.`,
		Args: args(1, 1, "a batch; masspay status lists them"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.cancel(cmd.Context(), args[0]) },
	}
}

func (a *app) cancel(ctx context.Context, id string) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	b, err := s.Batch(ctx, id)
	if err != nil {
		return err
	}
	if err := a.record(ctx, c, s, "cancel", "", b.ID); err != nil {
		return err
	}
	done, left, err := batch.Cancel(ctx, s, b.ID)
	if err != nil {
		return err
	}
	a.say("batch %s: cancelled %s that nothing was sent of", b.Short(), count(done, "payout"))
	if left > 0 {
		a.say("%s left as they are: they were attempted, and the gate may know of them", count(left, "open payout"))
		return endWith(exitOpen)
	}
	return nil
}
