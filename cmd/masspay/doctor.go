package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"masspay/payout"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that the store keeps against itself; changes nothing",
		Long: `Read every page and every record of the store, check each against its checksum,
open every row with the store's key, count again what is counted, and replay what
happened to every payout. It changes nothing and sends nothing; other masspay
processes wait meanwhile, some ten seconds for a million rows.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context()) },
	}
}

func (a *app) doctor(ctx context.Context) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	e, err := c.examineStore(ctx)
	if err != nil {
		return err
	}
	for _, n := range e.Notes {
		a.say("note: %s", n)
	}
	if len(e.Wrong) == 0 {
		a.say("store: %s", c.Store.name())
		a.say("in order: %s, %s, %s, %s; every record matches its checksum, every row opens, every count and index is right",
			count(e.Batches, "batch"), count(e.Rows, "row"), count(e.Payouts, "payout"), count(e.Events, "event"))
		return nil
	}
	lines := e.Wrong
	if e.More > 0 {
		lines = append(lines, "... and "+payout.FormatNumber(e.More)+" more")
	}
	return &failure{
		code: exitUnexpected, lines: lines,
		err: fmt.Errorf("%s is damaged: %s; nothing was sent or changed", c.Store.name(), count(len(e.Wrong)+e.More, "finding")),
		hint: "stop masspay, keep the damaged file (it remembers what was paid), put the newest backup in its place, " +
			"then masspay run FILE --ask-first for every file that was not through by then: the gate is asked about each payout before it is sent",
	}
}
