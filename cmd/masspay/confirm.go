package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"masspay/batch/result"

	"golang.org/x/term"
)

// confirm asks a person to type a word before something that cannot be undone. With
// yes there is no question; where there is no terminal, it is refused, and elsewhere says what to do.
func (a *app) confirm(ctx context.Context, yes bool, what, word, elsewhere string) error {
	if yes {
		return nil
	}
	if !a.mayAsk() {
		return failf(exitConfig, elsewhere, "%s needs a confirmation, and there is no one to ask here; nothing was changed or sent", what)
	}
	_, _ = fmt.Fprintf(a.w.stderr, "type %s to confirm: ", word)
	typed, err := a.typed(ctx)
	if strings.TrimSpace(typed) == word {
		return nil
	}
	if err != nil {
		a.say("")
	}
	return failf(exitConfig, a.again()+" asks again", "not confirmed; nothing was changed or sent")
}

// mayAsk reports whether a person sits before stdin and stderr.
func (a *app) mayAsk() bool {
	in, ok := a.w.stdin.(*os.File)
	return ok && term.IsTerminal(int(in.Fd())) && a.w.terminal()
}

// confirmSending shows what a run is about to send, and where, and asks once. Where
// there is no person, in scripts and under cron, it does not ask.
func (a *app) confirmSending(ctx context.Context, c *config, file string, toSend, before result.Sum, output string, yes bool) error {
	if yes || toSend.Rows == 0 || file == "-" || !a.mayAsk() {
		return nil
	}
	ids := make([]string, len(c.Projects))
	for i, p := range c.Projects {
		ids[i] = strconv.FormatUint(uint64(p.ID), 10)
	}
	a.say("gate      %s", c.Gate.BaseURL)
	a.say("project   %s", strings.Join(ids, ", "))
	a.say("file      %s", printable(file))
	a.say("to send   %s, %s", count(toSend.Rows, "payout"), money(toSend))
	if before.Rows > 0 {
		a.say("known     %s, %s: sent before, not sent again", count(before.Rows, "payout"), money(before))
	}
	if output == "" {
		output = "to standard output, names and accounts in it (-o FILE writes a file)"
	}
	a.say("result    %s", output)
	_, _ = fmt.Fprint(a.w.stderr, "pay them now? [y/N] ")
	typed, err := a.typed(ctx)
	switch strings.ToLower(strings.TrimSpace(typed)) {
	case "y", "yes":
		return nil
	}
	if err != nil {
		a.say("")
	}
	return failf(exitConfig, a.again()+" asks again; --yes does not ask", "not confirmed; nothing was sent")
}

// typed reads a line from a person. Ctrl-C ends the waiting.
func (a *app) typed(ctx context.Context) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() { // without an answer it ends with the process
		text, err := bufio.NewReader(a.w.stdin).ReadString('\n')
		got <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case line := <-got:
		return line.text, line.err
	}
}
