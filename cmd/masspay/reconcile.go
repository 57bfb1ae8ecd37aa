package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"masspay/payout"
	"masspay/store"
)

func (a *app) reconcileCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reconcile [BATCH]",
		Short: "Ask the gate about open payouts; sends nothing",
		Args:  args(0, 1, "at most one batch"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			return a.reconcile(cmd.Context(), id)
		},
	}
}

func (a *app) reconcile(ctx context.Context, id string) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if id != "" {
		b, err := a.batch(ctx, s, id)
		if err != nil {
			return err
		}
		id = b.ID
	}
	if err := c.noExample(); err != nil {
		return err
	}
	client, closeGate, err := c.gateClient(s)
	if err != nil {
		return err
	}
	defer closeGate()
	if err := a.record(ctx, c, s, "reconcile", "", id); err != nil {
		return err
	}
	q := c.reconciler(a.engine(s), client, func(text string) { a.say("masspay: %s", text) })
	sum, err := q.Round(ctx, id)
	a.ran.end.Polled = sum.Asked
	if err != nil {
		return err
	}
	a.say("polled %s, %s changed; nothing was sent", count(sum.Asked, "payout"), payout.Count(sum.News))
	if sum.TooEarly > 0 {
		a.say("%s sent less than %v ago left for later: the gate may not know of them yet", count(sum.TooEarly, "payout"), c.Gate.StatusAfter)
	}
	if !sum.Paused.IsZero() {
		a.say("not all were asked about: the gate wants requests to pause until %s", sum.Paused.UTC().Format(time.RFC3339))
	}
	for _, gate := range slices.Sorted(maps.Keys(sum.Elsewhere)) {
		a.say("%s sent to %s not polled: it cannot be reached from this configuration", count(sum.Elsewhere[gate], "payout"), gate)
	}
	if sum.Refused != "" {
		return failf(exitConfig, "masspay ping says what is wrong", "%s; nothing was sent", sum.Refused)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	code, err := a.openCode(ctx, s, id)
	if err != nil {
		return err
	}
	return endWith(code)
}

// openCode is the exit code of a batch, or of all.
func (a *app) openCode(ctx context.Context, s store.Store, id string) (int, error) {
	code := exitDone
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return 0, err
		}
		if id != "" && b.ID != id {
			continue
		}
		code = max(code, verdictCode(b, false)) // 0, 3 or 4
		if n := b.Waiting(); n > 0 {
			a.say("batch %s: %s still open", b.Short(), count(n, "payout"))
		}
		if n := b.Open() - b.Waiting(); n > 0 {
			a.say("batch %s: %s wait for a person, see result.note", b.Short(), count(n, "payout"))
		}
	}
	return code, nil
}
