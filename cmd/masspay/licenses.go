package main

import (
	_ "embed"
	"fmt"

	"github.com/spf13/cobra"
)

// thirdParty are the licences of everything that is linked into masspay, of Go and of the script
// on its pages; make licenses writes it.
//
//go:embed third-party.txt
var thirdParty string

func (a *app) licensesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "licenses",
		Short: "Print the licences of the software of others that is part of masspay",
		Long: `Print the licences of the software of others that is part of masspay: its modules with
their versions, Go, and the script on the pages of serve. The rest of it is under the Apache
License 2.0.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(a.w.stdout, thirdParty)
			return err
		},
	}
}
