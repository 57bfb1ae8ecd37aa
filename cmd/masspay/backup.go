package main

import (
	"cmp"
	"path/filepath"

	"masspay/store"

	"github.com/spf13/cobra"
)

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of the store, while others work",
		Long: `Write a consistent copy of the store to a new file. The rows in it are sealed:
keep the store's key apart from it. A store restored from the copy is known as
one and is not sent from without run --ask-first.`,
		Args: args(1, 1, "the name of a new file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			copies, ok := s.(store.Backuper)
			if !ok {
				return failf(exitConfig, "use the database's own tools, such as pg_basebackup", "a store in a database is not copied by masspay; nothing was written")
			}
			if err := a.record(cmd.Context(), c, s, "backup", "", ""); err != nil {
				return err
			}
			sweep(filepath.Dir(args[0]))
			if err := copies.Backup(cmd.Context(), args[0]); err != nil {
				return err
			}
			a.say("backup: %s (keep %s apart from it)", args[0], cmp.Or(c.Store.KeyFile, "the store's key"))
			return nil
		},
	}
}
