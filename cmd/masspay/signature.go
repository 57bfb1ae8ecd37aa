package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"masspay/gate"
)

func (a *app) signatureCommand() *cobra.Command {
	var keyFile string
	c := &cobra.Command{
		Use:   "signature FILE.json --key-file FILE",
		Short: "Print the canonical string and the signature of a JSON body",
		Long: `Print the string that is signed for a JSON body, and below it the signature
with the key in a file. FILE.json may be - for standard input. Needs no
configuration; to compare with what the platform's support computes.`,
		Args: args(1, 1, "one JSON file, or - for standard input"),
		RunE: func(_ *cobra.Command, args []string) error {
			var body []byte
			var err error
			if args[0] == "-" {
				body, err = io.ReadAll(a.w.stdin)
			} else {
				body, err = os.ReadFile(args[0])
			}
			if err != nil {
				return err
			}
			canonical, err := gate.Canonical(body)
			if err != nil {
				return failf(exitFile, "the file must hold one JSON object", "%s: %w", args[0], err)
			}
			_, _ = fmt.Fprintln(a.w.stdout, canonical)
			if keyFile == "" {
				return nil
			}
			key, err := (&config{env: a.env}).readSecret(keyFile)
			if err != nil {
				return secretFailure("--key-file", err)
			}
			_, _ = fmt.Fprintln(a.w.stdout, gate.NewSecret(key).Sign(canonical))
			return nil
		},
	}
	c.Flags().StringVar(&keyFile, "key-file", "", "`FILE` that holds the key, mode 600; without it only the string is printed")
	return c
}
