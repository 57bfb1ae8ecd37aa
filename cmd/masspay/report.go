package main

import (
	"github.com/spf13/cobra"
)

func (a *app) reportCommand() *cobra.Command {
	var f outputFlags
	c := &cobra.Command{
		Use:   "report BATCH [-o FILE]",
		Short: "Write the result CSV again, from the store alone",
		Args:  args(1, 1, "a batch; masspay status lists them"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			o := a.output(c, f)
			if err := o.check(cmd.Context(), s); err != nil {
				return err
			}
			b, err := a.batch(cmd.Context(), s, args[0])
			if err != nil {
				return err
			}
			w, err := o.write(cmd.Context(), cmd.Context(), s, b)
			if err != nil {
				return err
			}
			if w.path != "" {
				a.say("result: %s", w.path)
			}
			o.tell(w, b)
			switch {
			case w.elsewhere == nil:
				return nil
			case cmd.Context().Err() != nil:
				return endWith(exitInterrupted)
			}
			return endWith(exitUnexpected)
		},
	}
	f.register(c)
	return c
}
