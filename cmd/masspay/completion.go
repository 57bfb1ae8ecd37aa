package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"masspay/payout"
	"masspay/store"
)

// Completion of what is in the store is short of breath: whoever has pressed Tab sees nothing
// rather than wait.
const (
	completionWait = time.Second
	completionMost = 50 // batches, the newest
)

// completions lets a shell complete batches, projects and words of lists. The names of files stay
// with the shell.
func (a *app) completions(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "status", "reconcile", "report", "retry", "cancel", "exceptions", "pause", "resume":
			c.ValidArgsFunction = a.completeBatch
		case "resolve":
			_ = c.RegisterFlagCompletionFunc("as", cobra.FixedCompletions([]cobra.Completion{"paid", "not-paid", "seen"}, cobra.ShellCompDirectiveNoFileComp)) // of its own flag: it cannot fail
		case "audit":
			a.completions(c)
		}
		for name, complete := range map[string]cobra.CompletionFunc{"batch": a.completeBatch, "project": a.completeProject} {
			if c.Flags().Lookup(name) != nil {
				_ = c.RegisterFlagCompletionFunc(name, complete) // the same
			}
		}
	}
}

// completeBatch offers the newest batches by their files' names, and by their ids where two have one
// name.
func (a *app) completeBatch(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 {
		return nil, nothing
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionWait)
	defer cancel()
	batches, err := a.newest(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	named := map[string]int{}
	for _, b := range batches {
		named[b.Name]++
	}
	var offered []cobra.Completion
	for _, b := range batches {
		is := fmt.Sprintf("%s, loaded %s", payout.FormatQuantity(b.Rows, "row"), b.LoadedAt.Local().Format(time.DateTime))
		if named[b.Name] == 1 {
			offered = append(offered, cobra.CompletionWithDesc(b.Name, is))
			continue
		}
		offered = append(offered, cobra.CompletionWithDesc(b.Short(), b.Name+", "+is))
	}
	return offered, nothing | cobra.ShellCompDirectiveKeepOrder
}

// newest are the newest batches of the store, the newest first.
func (a *app) newest(ctx context.Context) ([]store.Batch, error) {
	c, err := a.config()
	if err != nil {
		return nil, err
	}
	s, err := c.openStore(ctx, completionWait)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	return s.Latest(ctx, 0, completionMost)
}

// completeProject offers the projects of the configuration.
func (a *app) completeProject(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := a.config()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []cobra.Completion
	for _, p := range c.Projects {
		ids = append(ids, fmt.Sprint(p.ID))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
