package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"masspay/store"
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
masspay init has made and which is empty, as the owner of its tables: batches, rows, payouts with their histories,
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
		return failf(exitConfig, "docs/how-to/machines.md says how", "the configuration names no database (store.url) to move to; nothing was changed")
	}
	made, err := c.storeMade(ctx)
	if err != nil {
		return err
	}
	if !made {
		return failf(exitConfig, "masspay init makes it; then the same command", "%s has no store yet; nothing was moved", c.Store.name())
	}
	a.say("everything in %s goes to %s; after that nothing is sent from the file any more", file, c.Store.name())
	if err := a.confirm(ctx, yes, "to move the store", filepath.Base(file), "run the same command on a terminal, where it asks for the file's name; --yes in scripts"); err != nil {
		return err
	}
	moved, err := c.moveStore(ctx, file)
	switch {
	case errors.Is(err, store.ErrRestored):
		return failf(exitConfig, "first, with the file's own configuration: masspay run FILE --ask-first for what it may not know of; then masspay init --trust-store", "%w; nothing was moved", err)
	case errors.Is(err, store.ErrKey):
		return failf(exitConfig, "the file and the database need the same store.key: make the database with the key of the file, then the same command", "%w; nothing was moved", err)
	case errors.Is(err, store.ErrDamaged):
		return failf(exitConfig, "name the file of a store (store.path of its configuration); masspay doctor, with that configuration, says what is wrong with it", "%s is no store, or is damaged (%w); nothing was moved", file, err)
	case err != nil:
		return err
	}
	if moved.Before {
		a.say("%s was moved there before; nothing was changed", file)
		return nil
	}
	a.say("moved: %s, %s, %s; counted on both sides", count(moved.Batches, "batch"), count(moved.Rows, "row"), count(moved.Payouts, "payout"))
	a.say("%s sends nothing any more; keep it until you trust what is in its place", file)
	a.say("hint: to look at everything that was moved: masspay doctor")
	return nil
}
