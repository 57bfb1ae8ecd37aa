package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"masspay/batch"
	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// ending says how a run ended: what was sent now, what was known before and what was
// not sent, what a person must check, and what to do.
func (a *app) ending(ctx context.Context, s store.Store, b store.Batch, w written, out batch.Ending, code int, waited bool) error {
	earlier, err := sentEarlier(ctx, s, w.Summary)
	if err != nil {
		return err
	}
	a.say("masspay: %s", sums(w.Summary, earlier))
	if n := b.InState(payout.StateCancelled); n > 0 {
		a.say("masspay: %s of this batch cancelled, and not sent", count(n, "payout"))
	}
	if out.Elsewhere > 0 {
		a.say("masspay: %s may have been paid by another gate than gate.base_url: polled there, not sent here; if that gate never answers: masspay resolve", count(out.Elsewhere, "payout"))
	}
	a.todo(b, w)
	a.conclusion(b, w, out, code, earlier, waited)
	if w.path != "" {
		a.say("result: %s", w.path)
	}
	return nil
}

// todo says what a person has to do, by result.action, each with a command at its end
// that can be pasted.
func (a *app) todo(b store.Batch, w written) {
	line := func(n int, text, example string) {
		if n > 0 {
			a.say("masspay: %s %s: masspay show %s", count(n, "payout"), text, shellWord(example))
		}
	}
	checks := w.N(result.StateCheck)
	line(checks, "must be checked by someone (result.state check), for example", w.Example[result.StateCheck])
	line(w.Actions[result.ActionCheck]-checks, "must be reviewed before anything is paid again (result.action check first), for example", w.Example[result.ActionCheck])
	line(w.Actions[result.ActionFix], "rejected, not paid: correct the row and give it a new id (result.action fix row), for example", w.Example[result.ActionFix])
	line(w.Actions[result.ActionNever], "refused for good (result.action never pay again), for example", w.Example[result.ActionNever])
	if n := w.Actions[result.ActionNewID]; n > 0 {
		a.say("masspay: %s not paid and may be paid again under a new id: masspay retry %s -o %s", count(n, "payout"), b.Short(), shellWord(suggested(w.folder(), b.Name, "retry")))
	}
	if b.Skipped > 0 {
		a.say("masspay: %s left out (--skip-invalid), not sent: see result.note", count(b.Skipped, "row"))
	}
	if n := w.Blocked; n > 0 {
		a.say("masspay: %s not sent: the same row is paid, or may be, under another id; result.note says which; masspay cancel %s --row and its payment_id cancels it", count(n, "payout"), b.Short())
	}
}

// folder is where the result is; empty where it went to a pipe or a device, or nowhere.
func (w written) folder() string {
	if of, err := os.Stat(w.path); err != nil || !of.Mode().IsRegular() {
		return ""
	}
	return filepath.Dir(w.path)
}

// suggested is a name that is free in a folder, for a file of some kind that is made from another
// one: payouts.retry.csv. Those who may write results into a folder may write it there.
func suggested(folder, file, kind string) string {
	file = filepath.Base(file)
	name := filepath.Join(folder, strings.TrimSuffix(file, filepath.Ext(file))+"."+kind+".csv")
	if _, err := os.Lstat(name); err == nil {
		return freeName(name)
	}
	return name
}

// conclusion says in one or two lines what it comes to, and what to do.
func (a *app) conclusion(b store.Batch, w written, out batch.Ending, code int, earlier string, waited bool) {
	again := a.onBatch(b.Short())
	unsent := b.Unsent()
	stopped := func(why string) {
		if why != "" {
			a.say("masspay: %s", why)
		}
		if n := w.N(result.StateOpen) - unsent; n > 0 {
			a.say("masspay: %s in doubt or still open, perhaps paid; do not pay elsewhere", count(n, "payout"))
		}
		if unsent > 0 {
			a.say("masspay: %s not sent", count(unsent, "payout"))
		}
	}
	open := w.N(result.StateOpen) - unsent
	poll := again
	if !waited { // its --wait 0 polls nothing
		poll = a.withConfig("masspay reconcile " + b.Short() + " --results")
	}
	switch {
	case out.Interrupted:
		stopped("interrupted; what was sent is remembered")
		a.say("hint: to go on where it stopped: %s", again)
	case out.Fenced != "":
		stopped(out.Fenced)
		a.say("hint: leave the files beside the store alone; to go on: %s", again)
	case out.Refused != "":
		stopped(out.Refused)
		a.say("hint: to find out what is wrong: %s", a.withConfig("masspay ping"))
		a.say("hint: then, to go on: %s", again)
	case b.Held.Lasting() && b.Held.Token == "" && out.NoMoney+out.SameFailures+out.Held != "":
		stopped(out.NoMoney + out.SameFailures + out.Held)
		a.say("hint: when that is settled: %s", a.withConfig("masspay resume "+b.Short()))
		a.say("hint: then, to go on: %s", again)
	case out.Late != "":
		stopped(out.Late)
		a.say("hint: to send the rest: %s", again)
	case out.NoMoney+out.SameFailures+out.Held != "":
		stopped(out.NoMoney + out.SameFailures + out.Held)
		a.say("hint: when the cause is gone, to go on: %s", again)
	case unsent > 0 && out.Unreached != "":
		stopped("")
		a.say("masspay: the gate cannot be reached (%s)", out.Unreached)
		a.say("hint: when the gate can be reached, to send the rest: %s", again)
	case code == exitOpen:
		if open > 0 {
			a.say("masspay: %s still open: no outcome yet, perhaps paid; do not pay elsewhere", count(open, "payout"))
			a.say("hint: to ask the gate again later: %s", poll)
		}
		if n := unsent - w.Blocked - out.ElsewhereNew; n > 0 {
			a.say("masspay: %s not sent", count(n, "payout"))
			a.say("hint: to send them: %s", again)
		}
	case code == exitNotAllPaid:
		a.say("masspay: done, and some rows were not paid: see result.state and result.action")
	case open > 0:
		a.say("masspay: all payouts were accepted; none of those still open is known to be paid yet")
		a.say("hint: to ask the gate what became of them: %s", poll)
	default:
		a.say("masspay: done: %s", allPaid(w.Summary, earlier))
	}
}

// allPaid says that every row is paid, and when that was.
func allPaid(s result.Summary, earlier string) string {
	before := s.Before.Rows
	switch {
	case before == 0, s.Others.Rows > 0:
		return "every row was paid"
	case s.Now.Rows > 0:
		return fmt.Sprintf("what was sent now (%s) was paid; %s were sent before%s, and are paid", count(s.Now.Rows, "payout"), payout.FormatNumber(before), behind(", ", earlier))
	case s.FinalNow > 0:
		return fmt.Sprintf("nothing was sent now: all %s were sent before%s, and are paid", payout.FormatNumber(before), behind(", ", earlier))
	}
	return fmt.Sprintf("nothing was sent: all %s were paid before%s", payout.FormatNumber(before), behind(", ", earlier))
}

// sums says what was sent now, known before and not sent.
func sums(s result.Summary, earlier string) string {
	part := func(what string, sum result.Sum) string {
		return fmt.Sprintf("%s %s, %s", what, count(sum.Rows, "payout"), money(sum))
	}
	var parts []string
	if s.Now.Rows > 0 {
		parts = append(parts, part("sent now:", s.Now))
	} else {
		parts = append(parts, "sent now: nothing")
	}
	if s.Others.Rows > 0 {
		parts = append(parts, part("sent meanwhile by others:", s.Others))
	}
	if s.Before.Rows > 0 {
		parts = append(parts, part("known before:", s.Before)+strings.TrimSuffix(" ("+earlier+")", " ()"))
	}
	if s.Unsent.Rows > 0 {
		parts = append(parts, part("not sent:", s.Unsent))
	}
	return strings.Join(parts, "; ")
}

// sentEarlier says when rows were sent before, and by which file.
func sentEarlier(ctx context.Context, s store.Store, sum result.Summary) (string, error) {
	all, err := earlierOf(ctx, s, sum)
	if err != nil || len(all) == 0 {
		return "", err
	}
	newest, text := all[0], ""
	if !newest.Last.IsZero() {
		text = "on " + newest.Last.Local().Format(time.DateOnly)
	}
	if newest.File != "" {
		text += " by " + printable(newest.File)
	}
	if more := len(all) - 1; more > 0 {
		text += " and " + count(more, "other file")
	}
	return strings.TrimSpace(text), nil
}

// earlierOf names the files that sent rows before, the newest first.
func earlierOf(ctx context.Context, s store.Store, sum result.Summary) (all []earlierJSON, err error) {
	if len(sum.Earlier) == 0 {
		return nil, nil
	}
	batches := map[uint32]store.Batch{}
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		batches[b.Number] = b
	}
	for _, e := range sum.Earlier {
		b := batches[e.Batch]
		all = append(all, earlierJSON{Batch: b.ID, File: b.Name, Rows: e.Rows, Last: e.Last})
	}
	return all, nil
}

// fingerprint says where a result is, for another process from anywhere, and what is in
// it; nothing of what is no regular file.
func (o *output) fingerprint(ctx context.Context, name string) (path, sum string) {
	if name == "" {
		return "", ""
	}
	t, err := lookAt(name)
	if err != nil || t.info == nil || t.stream() {
		return "", ""
	}
	c, err := t.read(ctx)
	if err != nil {
		return "", ""
	}
	if path, err = filepath.Abs(t.path); err != nil {
		return "", ""
	}
	return path, c.sum
}
