package main

import (
	"github.com/spf13/cobra"
)

func (a *app) reportCommand() *cobra.Command {
	var output string
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
			if err := canWrite(c, output); err != nil {
				return err
			}
			b, err := s.Batch(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if _, err = a.writeReport(cmd.Context(), s, b, output); err != nil {
				return err
			}
			if output != "" {
				a.say("result: %s", output)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "write the result to `FILE`, replacing an older one")
	return c
}
