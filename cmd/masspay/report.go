package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch/result"
	"masspay/payout"
)

func (a *app) reportCommand() *cobra.Command {
	var f outputFlags
	var states, actions []string
	c := &cobra.Command{
		Use:   "report BATCH [-o FILE]",
		Short: "Write the result CSV again, from the store alone",
		Long: `Write the result CSV again, from the store alone. BATCH is the beginning of its id, or
its file's name. With --state or --action only those rows are written: a selection,
which is no result, because rows are missing.`,
		Args: args(1, 1, "a batch; masspay status lists them"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known("--state", states, result.States); err != nil {
				return err
			}
			if err := known("--action", actions, result.Actions); err != nil {
				return err
			}
			c, s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			if len(states)+len(actions) > 0 && !f.force {
				if t, err := lookAt(f.name); f.name != "" && err == nil && t.info != nil && !t.stream() && t.info.Size() > 0 {
					return failf(exitConfig, "choose another name with -o, e.g. -o "+shellWord(freeName(f.name))+"; --force replaces it", "%s is there, and a selection is no result to replace it with; nothing was written", f.name)
				}
			}
			o := a.output(c, f)
			o.reporting.States, o.reporting.Actions = states, actions
			if err := o.check(cmd.Context(), s); err != nil {
				return err
			}
			b, err := a.batch(cmd.Context(), s, args[0])
			if err != nil {
				return err
			}
			if err := a.record(cmd.Context(), c, s, "report -o "+cmp.Or(shellWord(f.name), "-"), b.Name, b.ID); err != nil {
				return err
			}
			asOf := time.Now().UTC()
			w, err := o.write(cmd.Context(), cmd.Context(), s, b)
			if err != nil {
				return err
			}
			if !o.reporting.Selects() {
				a.ran.end.ResultAt = asOf
				a.ran.end.Result, a.ran.end.ResultSum = o.fingerprint(cmd.Context(), w.path)
			}
			switch {
			case o.reporting.Selects():
				a.say("a selection of %s of %s, not a result: %s", count(w.Rows, "row"), payout.FormatNumber(b.Rows), cmp.Or(w.path, "standard output"))
			case w.path != "":
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
	c.Flags().StringSliceVar(&states, "state", nil, "only rows with this result.state; may be repeated")
	c.Flags().StringSliceVar(&actions, "action", nil, "only rows with this result.action; may be repeated")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(result.States, cobra.ShellCompDirectiveNoFileComp))   // of its own flag: it cannot fail
	_ = c.RegisterFlagCompletionFunc("action", cobra.FixedCompletions(result.Actions, cobra.ShellCompDirectiveNoFileComp)) // the same
	return c
}

// known refuses what is none of a flag's words.
func known(flag string, given, words []string) error {
	for _, g := range given {
		if !slices.Contains(words, g) {
			return failf(exitConfig, "one of: "+strings.Join(words, ", "), "%s %q: there is no such value; nothing was written", flag, g)
		}
	}
	return nil
}
