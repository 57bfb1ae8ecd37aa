package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"masspay/payout"
	"masspay/store"
)

func (a *app) pauseCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "pause BATCH --reason TEXT",
		Short: "Stop the sending of a batch, also while it is sent, until it is resumed",
		Long: `Stop the sending of a batch, from any terminal and any machine, until it is resumed. A
run that sends it stops within half a second: what has left by then stays sent, and its
outcomes are still asked for. A payout that is in another batch too is sent by that
one, unless that is paused as well.`,
		Args: args(1, 1, "a batch; masspay status lists them"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			if reason == "" {
				return failf(exitConfig, "masspay pause "+shellWord(args[0])+" --reason 'wrong month'", "pause: say why (--reason), for whoever finds it paused; nothing was changed")
			}
			return a.pause(cmd.Context(), args[0], reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why: it is told to whoever runs the batch")
	return c
}

func (a *app) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resume BATCH",
		Short: "Let a batch be sent again that was paused, or that a breaker stopped",
		Args:  args(1, 1, "a batch; masspay status lists them"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.resume(cmd.Context(), args[0])
		},
	}
}

func (a *app) pause(ctx context.Context, id, reason string) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	b, err := a.batch(ctx, s, id)
	if err != nil {
		return err
	}
	if err := a.record(ctx, c, s, "pause", "", b.ID); err != nil {
		return err
	}
	if err := s.Hold(ctx, b.ID, store.Hold{Kind: store.HeldByPerson, Reason: reason, By: person(), At: time.Now().UTC()}); err != nil {
		return err
	}
	a.say("batch %s (%s) is paused: %s of it not sent yet; %s may be on the way", b.Short(), printable(b.Name),
		count(b.Unsent(), "payout"), payout.FormatNumber(b.InState(payout.StateSending)))
	a.say("hint: to let it be sent again: masspay resume %s", b.Short())
	return nil
}

func (a *app) resume(ctx context.Context, id string) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	b, err := a.batch(ctx, s, id)
	if err != nil {
		return err
	}
	lifted, err := s.LetGo(ctx, b.ID, store.PersonLifts()...)
	if err != nil {
		return err
	}
	if !lifted {
		a.say("batch %s (%s) is not paused", b.Short(), printable(b.Name))
		return nil
	}
	if err := a.record(ctx, c, s, "resume", "", b.ID); err != nil {
		return err
	}
	a.say("batch %s (%s) is resumed; %s of it not sent yet", b.Short(), printable(b.Name), count(b.Unsent(), "payout"))
	if b.Unsent() > 0 {
		a.say("hint: a run that still waits goes on; where none does: %s", a.withConfig("masspay run --batch "+b.Short()+" -o "+shellWord(suggested("", b.Name, "result"))))
	}
	return nil
}

// notHeld refuses to begin the sending of a batch that only a person lets go.
func (a *app) notHeld(b store.Batch, canary bool) error {
	if !b.Held.Lasting() || b.Unsent() == 0 {
		return nil
	}
	if canary && b.Held.Kind == store.HeldByCanary && b.Held.Token != "" {
		return nil // it goes on with that
	}
	if b.Held.Kind == store.HeldByCanary && b.Held.Token != "" {
		return failf(exitHeld, "the same command with --canary goes on with it; to let all of it be sent: "+a.withConfig("masspay resume "+b.Short()), "batch %s is %w; nothing was sent", b.Short(), &store.HeldError{Hold: *b.Held})
	}
	return failf(exitHeld, "when that is settled: "+a.withConfig("masspay resume "+b.Short()), "batch %s is %w; nothing was sent", b.Short(), &store.HeldError{Hold: *b.Held})
}
