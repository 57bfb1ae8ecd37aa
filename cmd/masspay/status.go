package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON, watch bool
	c := &cobra.Command{
		Use:   "status [BATCH]",
		Short: "Show where every payout is",
		Long:  "List the batches, or show one, by the beginning of its id or by its file's name.",
		Args:  args(0, 1, "at most one batch"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			switch {
			case watch && (len(args) == 0 || asJSON):
				return failf(exitConfig, "masspay status lists the batches", "--watch follows one batch, for people; nothing was sent")
			case watch:
				return a.watch(cmd.Context(), s, args[0])
			case len(args) == 1:
				return a.statusOf(cmd.Context(), s, args[0], asJSON)
			}
			return a.statusAll(cmd.Context(), s, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	c.Flags().BoolVar(&watch, "watch", false, "follow a batch until nothing of it waits any more, or Ctrl-C")
	return c
}

func (a *app) statusOf(ctx context.Context, s store.Store, id string, asJSON bool) error {
	b, err := a.batch(ctx, s, id)
	if err != nil {
		return err
	}
	sum := tally(b)
	if asJSON {
		return a.printJSON(statusReport(b))
	}
	w := world{stderr: a.w.stdout}
	(&app{w: w}).say("batch %s, %s, loaded %s", b.Short(), b.Name, b.LoadedAt.Format(time.RFC3339))
	summaryTable(a.w.stdout, sum)
	if text := holdText(b.Held); text != "" {
		(&app{w: w}).say("%s", text)
	}
	if n := checks(b); n > 0 {
		(&app{w: w}).say("%s must be checked by a person; masspay report %s --state check tells which", count(n, "payout"), b.Short())
	}
	if n := b.Open() - b.Waiting() - openChecks(b); n > 0 {
		(&app{w: w}).say("%s of the open ones can only be decided by a person (masspay resolve); masspay report %s --action %s tells which", count(n, "payout"), b.Short(), shellWord(result.ActionCheck))
	}
	return (&app{w: w}).sayCancelled(ctx, s, b)
}

// watch follows a batch: a line whenever something has changed.
func (a *app) watch(ctx context.Context, s store.Store, id string) error {
	b, err := a.batch(ctx, s, id)
	if err != nil {
		return err
	}
	for last := ""; ; {
		if b, err = s.Batch(ctx, b.ID); err != nil && !errors.Is(err, store.ErrBusy) {
			return err
		}
		if now := inWords(tally(b)); err == nil && now != last {
			last = now
			_, _ = fmt.Fprintf(a.w.stdout, "%s  %s\n", time.Now().Format(time.TimeOnly), now)
		}
		if err == nil && (b.Waiting() <= 0 || b.Held != nil) {
			if text := holdText(b.Held); text != "" {
				_, _ = fmt.Fprintln(a.w.stdout, text)
			}
			return endWith(outcomeCode(b, false))
		}
		t := time.NewTimer(watchEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return endWith(outcomeCode(b, false))
		}
	}
}

// watchEvery is how often a batch that is followed is looked at.
const watchEvery = time.Second

// processes lists who works on a store that many machines share.
func (a *app) processes(ctx context.Context, s store.Store) error {
	peopled, ok := s.(store.Peopled)
	if !ok {
		return nil
	}
	all, err := peopled.Processes(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	_, _ = fmt.Fprintln(a.w.stdout, "processes:")
	for _, p := range all {
		state := fmt.Sprintf("sending %s, last heard %s", count(p.Held, "payout"), p.Seen.Format(time.RFC3339))
		if p.Fenced {
			state = "taken for dead; last heard " + p.Seen.Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(a.w.stdout, "    %s, process %d, version %s, since %s: %s\n", printable(p.Host), p.PID, printable(p.Version), p.Since.Format(time.RFC3339), state)
	}
	return nil
}

// holdText says why no run sends a batch's payouts, and what lifts that.
func holdText(h *store.Hold) string {
	switch {
	case h == nil:
		return ""
	case h.Kind == store.HeldByRun:
		return fmt.Sprintf("stopped on %s by %s: %s; the next masspay run goes on", h.At.UTC().Format(time.RFC3339), h.By, printable(h.Reason))
	}
	if h.Kind == store.HeldByCanary && h.Token != "" {
		return fmt.Sprintf("held since %s by %s: %s; masspay run with --canary goes on with it, and masspay resume lets all of it be sent", h.At.UTC().Format(time.RFC3339), h.By, printable(h.Reason))
	}
	return fmt.Sprintf("held since %s by %s: %s; nothing of it is sent before masspay resume", h.At.UTC().Format(time.RFC3339), h.By, printable(h.Reason))
}

func openChecks(b store.Batch) (n int) {
	for _, c := range b.Counts {
		if c.State.Open() {
			n += c.Check
		}
	}
	return n
}

// statusJSON is what status prints with --json.
type statusJSON struct {
	Batch    string             `json:"batch"`
	File     string             `json:"file"`
	LoadedAt time.Time          `json:"loaded_at"`
	Rows     int                `json:"rows"`
	ExitCode int                `json:"exit_code"` // that a run would end with now
	NotSent  sumJSON            `json:"not_sent"`  // of the open ones
	States   map[string]sumJSON `json:"states"`
	Held     *store.Hold        `json:"held,omitempty"` // why nothing of it is sent for now
}

func statusReport(b store.Batch) statusJSON {
	return statusJSON{b.ID, b.Name, b.LoadedAt, b.Rows, outcomeCode(b, false), sumReport(tally(b).Unsent), statesJSON(tally(b)), b.Held}
}

func checks(b store.Batch) (n int) {
	for _, c := range b.Counts {
		n += c.Check
	}
	return n
}

func (a *app) statusAll(ctx context.Context, s store.Store, asJSON bool) error {
	all := []statusJSON{}
	listed := false
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return err
		}
		if asJSON {
			all = append(all, statusReport(b))
			continue
		}
		listed = true
		_, _ = fmt.Fprintf(a.w.stdout, "%s  %s, loaded %s, %s, %s\n    %s\n", b.Short(), printable(b.Name), b.LoadedAt.Format(time.RFC3339),
			count(b.Rows, "row"), amounts(b.Totals), inWords(tally(b)))
		if text := holdText(b.Held); text != "" {
			_, _ = fmt.Fprintf(a.w.stdout, "    %s\n", text)
		}
	}
	if asJSON {
		return a.printJSON(all)
	}
	if !listed {
		a.say("no batches yet; masspay run FILE -o RESULT.csv makes one")
	}
	return a.processes(ctx, s)
}

// inWords is a batch in a line: how many rows are in which state. What was not sent
// and what is perhaps paid are never one number.
func inWords(s result.Summary) string {
	var parts []string
	add := func(n int, word string) {
		if n > 0 {
			parts = append(parts, payout.FormatNumber(n)+" "+word)
		}
	}
	for _, word := range result.States {
		if word == result.StateOpen {
			add(s.Unsent.Rows, "not sent")
			add(s.N(word)-s.Unsent.Rows, "open, perhaps paid")
			continue
		}
		add(s.N(word), word)
	}
	return strings.Join(parts, ", ")
}
