package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"masspay/cmd/masspay/demo"
)

func (a *app) demoCommand() *cobra.Command {
	var folder string
	var hostile, serve bool
	var seed uint64
	c := &cobra.Command{
		Use:   "demo",
		Short: "An end-to-end demo against a simulator, no configuration needed",
		Long: `Pay a sample file of 50 rows, some of which go wrong, through a simulated gate
on this machine: this program as it is, a real store, real HTTP, real signed
callbacks. No money moves. Takes some ten seconds.

With --hostile the gate cuts connections, hangs, answers late or nonsense, loses
and repeats callbacks, and pays whatever reaches it, twice if it is asked twice;
and this program is killed, suspended and started again in the middle. At the
end the gate's ledger is shown beside the result. Takes about a minute.

With --serve the pages of its store stay open until Ctrl-C, so that you see in a browser
what people see of it.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			d := demo.Demo{
				Self: self, Folder: folder, Serve: serve, Say: a.say, Stdout: a.w.stdout, Stderr: a.w.stderr,
				Ends: map[int]string{exitNotAllPaid: "done, and some rows were not paid", exitOpen: "done, and some outcomes are open or must be checked"},
			}
			if hostile {
				err = d.Hostile(cmd.Context(), seed)
			} else {
				err = d.Play(cmd.Context())
			}
			var fault *demo.FaultError
			if errors.As(err, &fault) {
				return failf(exitUnexpected, fault.Hint, "%w", err)
			}
			return err
		},
	}
	c.Flags().BoolVar(&hostile, "hostile", false, "a gate that misbehaves, and a program that is killed")
	c.Flags().BoolVar(&serve, "serve", false, "leave the pages of its store open on this machine, until Ctrl-C")
	c.Flags().Uint64Var(&seed, "seed", 0, "with --hostile: the `SEED` of the night (default: another one each time)")
	c.Flags().StringVar(&folder, "folder", "", "work in this new `FOLDER` and keep it (default: a temporary one, which is removed)")
	return c
}
