package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"masspay/store"
)

// logFlags are the flags of log.
type logFlags struct {
	batch string
	since string
	user  string
	json  bool
}

func (a *app) logCommand() *cobra.Command {
	var f logFlags
	c := &cobra.Command{
		Use:   "log",
		Short: "Show who ran what, when, with which version, configuration and file, and how it ended",
		Args:  args(0, 0, "flags only"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.showLog(cmd.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.batch, "batch", "", "only what was run for this `BATCH`, by its id or its file's name")
	fl.StringVar(&f.since, "since", "", "only since this `DATE` (2026-11-26) or for so long (12h, 30d)")
	fl.StringVar(&f.user, "user", "", "only what this `USER` ran, by the name that they logged in with")
	fl.BoolVar(&f.json, "json", false, "print it as JSON")
	return c
}

// loggedRun is a run as log prints it for machines.
type loggedRun struct {
	Number uint64 `json:"run"`
	store.Run
}

func (a *app) showLog(ctx context.Context, f logFlags) error {
	since, err := sinceWhen("--since", f.since, time.Now())
	if err != nil {
		return err
	}
	_, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	id := ""
	if f.batch != "" {
		b, err := a.batch(ctx, s, f.batch)
		if err != nil {
			return err
		}
		id = b.ID
	}
	list := []loggedRun{}
	for r, err := range s.Runs(ctx) {
		if err != nil {
			return err
		}
		if id != "" && r.Batch != id || f.user != "" && !isPerson(f.user, r.User) || r.At.Before(since) {
			continue
		}
		list = append(list, loggedRun{r.Number, r})
	}
	if f.json {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		a.say("nothing was run that this asks for")
	}
	for _, r := range list {
		_, _ = fmt.Fprintf(a.w.stdout, "%d  %s  masspay %s%s\n", r.Number, r.At.UTC().Format(time.RFC3339), r.Command, behind(" ", r.File))
		_, _ = fmt.Fprintf(a.w.stdout, "    by %s@%s, version %s, configuration %.12s%s\n", r.User, r.Host, r.Version, r.Config, behind(", batch ", short(r.Batch)))
		_, _ = fmt.Fprintf(a.w.stdout, "    %s\n", howItEnded(r.Run))
	}
	return nil
}

func short(batchID string) string { return batchID[:min(12, len(batchID))] }

// howItEnded says how a run ended, in a line.
func howItEnded(r store.Run) string {
	if r.End == nil {
		switch r.Life {
		case store.LifeGoesOn:
			return "goes on"
		case store.LifeGone:
			return "ended without a word: its process is gone, killed or with its machine"
		}
		return "goes on, or was killed"
	}
	text := fmt.Sprintf("ended %s, exit code %d", r.End.At.UTC().Format(time.RFC3339), r.End.ExitCode)
	if r.End.Sent > 0 {
		text += ", " + count(r.End.Sent, "request") + " sent"
	}
	if r.End.Polled > 0 {
		text += ", " + count(r.End.Polled, "status request")
	}
	if code, ok := codeWords[r.End.ExitCode]; ok {
		text = strings.Replace(text, fmt.Sprintf("exit code %d", r.End.ExitCode), fmt.Sprintf("exit code %d (%s)", r.End.ExitCode, code), 1)
	}
	return text + behind("; ", r.End.Text) + behind("; result: ", r.End.Result) + behind(": ", r.End.Error)
}

// codeWords are the exit codes in short.
var codeWords = map[int]string{
	exitDone: "done", exitUnexpected: "unexpected", exitNotAllPaid: "some rows not paid", exitOpen: "some open or to be checked",
	exitFile: "the file has problems", exitBusy: "the store was busy", exitConfig: "configuration or usage", exitInterrupted: "interrupted",
}

// sinceWhen reads a date, or how long ago.
func sinceWhen(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	days, isDays := strings.CutSuffix(s, "d")
	d, err := time.ParseDuration(days + map[bool]string{true: "h", false: ""}[isDays])
	if err != nil || d < 0 {
		return time.Time{}, failf(exitConfig, "a date as in 2026-11-26, or how long ago, as in 12h or 30d", "%s %q: want a date or a time", flag, s)
	}
	if isDays {
		d *= 24
	}
	return now.Add(-d), nil
}
