package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes the man pages; packagers call it, and make man.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man FOLDER",
		Short:  "Write the man pages into a folder",
		Hidden: true,
		Args:   args(1, 1, "a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // man pages are for everyone
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			root.Long += manFiles
			for _, c := range append(root.Commands(), root) {
				if c.Long == "" {
					c.Long = c.Short + "."
				}
				c.Long += manExitCodes()
			}
			return doc.GenManTree(root, &doc.GenManHeader{Title: "MASSPAY", Section: "1", Source: "masspay " + version}, args[0])
		},
	}
}

// examples are shown by --help and in the man pages.
//
//nolint:gosec // no credentials
var examples = map[string]string{
	"init":       "masspay init",
	"ping":       "masspay ping",
	"check":      "masspay check payouts.csv\nmasspay check payouts.csv --expect-rows 50 --expect-total 103653.75KGS",
	"run":        "masspay run payouts.csv -o result.csv\nmasspay run payouts.csv -o result.csv --wait 0\nmasspay run --batch payouts.csv -o result.csv",
	"inbox":      "masspay inbox",
	"status":     "masspay status\nmasspay status payouts.csv",
	"reconcile":  "masspay reconcile --results",
	"report":     "masspay report payouts.csv -o result.csv\nmasspay report payouts.csv -o declined.csv --state declined",
	"show":       "masspay show payment_47\nmasspay show --account 996555123420\nmasspay show --name 'Aibek Asanov'",
	"log":        "masspay log --since 7d\nmasspay log --batch payouts.csv --json",
	"audit":      "masspay audit verify --head 9f3c51aa7d20\nmasspay audit show --batch payouts.csv\nmasspay audit export -o audit.log",
	"series":     "masspay series\nmasspay series payroll --next 28 --reason 'file 27 was a test'",
	"exceptions": "masspay exceptions\nmasspay exceptions payouts.csv --csv\nmasspay exceptions --closed",
	"retry":      "masspay retry payouts.csv -o again.csv\nmasspay check again.csv\nmasspay run again.csv -o again.result.csv",
	"cancel":     "masspay cancel payouts.csv --row payment_47",
	"approve":    "masspay approve payouts.csv\nmasspay approve payouts.csv --prepare --key payroll.key --yes",
	"approvals":  "masspay approvals payouts.csv",
	"pause":      "masspay pause payouts.csv --reason 'wrong month'",
	"resume":     "masspay resume payouts.csv",
	"resolve":    "masspay resolve payment_47 --as seen --reason 'the platform confirmed the amount by telephone'",
	"backup":     "masspay backup /backup/masspay-2026-11-26.db",
	"serve":      "masspay serve",
	"token":      "masspay token anna >> tokens",
	"demo":       "masspay demo\nmasspay demo --hostile",
}

// manExitCodes is the part of every man page that explains them.
func manExitCodes() string {
	var b strings.Builder
	b.WriteString("\n\n# EXIT STATUS\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&b, "**%d** %s (the money: %s)\n\n", c.code, c.meaning, c.money)
	}
	return b.String()
}

const manFiles = `

# FILES
**masspay.yaml**, **/etc/masspay/masspay.yaml** the configuration; **--config** and **MASSPAY_CONFIG** name another one

**store.path** the store, and beside it its marker (**.marker**), the shared rate (**.rate**) and locks (**.queue**, **.turn**, **.load**, **.probe**, **.runs**, **.owner-...**): leave them alone while masspay runs
`
