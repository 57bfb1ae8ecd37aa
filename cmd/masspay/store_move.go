package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"
)

func (a *app) storeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "store",
		Short: "Look after where the store is",
		Args:  args(0, 0, "a command: move"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var yes bool
	move := &cobra.Command{
		Use:   "move FILE",
		Short: "Move a store that is a file into the empty database of store.url",
		Long: `Take everything of a store that is a file into the database of store.url, which
masspay init has made and which is empty: batches, rows, payouts with their histories,
ids, runs. Counts on both sides. Then the file is marked, and nothing is sent from it
again. Stop whatever uses the file first. Cut off, it is repeated.`,
		Args: args(1, 1, "the file of the store"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.moveStore(cmd.Context(), args[0], yes) },
	}
	move.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	c.AddCommand(move)
	return c
}

func (a *app) moveStore(ctx context.Context, file string, yes bool) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	if c.Store.URL == "" {
		return failf(exitConfig, "docs/machines.md says how", "the configuration names no database (store.url) to move to; nothing was changed")
	}
	a.say("everything in %s goes to %s; after that nothing is sent from the file any more", file, c.Store.name())
	if err := a.confirm(ctx, yes, "to move the store", filepath.Base(file), "run the same command on a terminal, where it asks for the file's name; --yes in scripts"); err != nil {
		return err
	}
	moved, err := c.moveStore(ctx, file)
	if err != nil {
		return err
	}
	a.say("moved: %s, %s, %s; counted on both sides", count(moved.Batches, "batch"), count(moved.Rows, "row"), count(moved.Payouts, "payout"))
	a.say("%s sends nothing any more; keep it until you trust what is in its place", file)
	a.say("hint: to look at everything that was moved: masspay doctor")
	return nil
}
