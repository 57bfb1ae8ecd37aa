package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/payout"
)

func (v *viewer) shown(ctx context.Context, rec payout.History) (shown, error) {
	p := rec.Payout
	one := shown{
		PaymentID: p.Key.PaymentID, ProjectID: p.Key.ProjectID, Amount: moneyJSON(p.Amount), To: p.Masked, Method: p.Method,
		State: result.StateOf(p), Action: result.Action(p), Reported: p.Reported.Status, Code: p.Reported.Code, Message: p.Reported.Message, Attempts: p.Tries,
		Dropped: p.Dropped, closes: result.ClosingOf(&p), Rows: []shownRow{}, Events: []shownEvent{},
	}
	if p.State.Open() && !p.PollAt.IsZero() {
		one.NextPoll = &p.PollAt
	}
	family, err := v.s.Family(ctx, p.Key)
	if err != nil {
		return one, err
	}
	for _, q := range family {
		if q.Key != p.Key {
			one.Family = append(one.Family, shownOther{q.Key.PaymentID, moneyJSON(q.Amount), q.Masked, result.StateOf(q)})
		}
	}
	for i, at := range p.Places {
		columns, l, err := v.s.Row(ctx, p, at)
		if err != nil {
			return one, err
		}
		if i == 0 {
			one.Why = v.notes(at.Batch).Of(l)
		}
		one.Rows = append(one.Rows, v.row(v.names[at.Batch], columns, l))
	}
	act, note, err := result.PaidAgain(ctx, v.s, &p)
	if err != nil {
		return one, err
	}
	if act != "" {
		one.Action, one.Why = act, note
	}
	for _, e := range rec.Events {
		one.Events = append(one.Events, v.event(e))
	}
	return one, nil
}

func (v *viewer) event(e payout.Event) shownEvent {
	out := shownEvent{
		At: e.At, What: e.Kind.String(), Text: result.DescribeEvent(e), Source: e.Source.String(), Attempt: e.Attempt, Run: e.Run, Person: e.Person,
		Status: e.Status, Code: e.Code, Message: e.Message, Field: e.Field, Reason: e.Reason, Conflict: e.Conflict,
	}
	if e.Match.Ours() {
		out.Field = ""
	}
	if e.Amount != (payout.Amount{}) {
		m := moneyJSON(e.Amount)
		out.Amount = &m
	}
	return out
}

// line shows a payout in one line, of many.
func (v *viewer) line(p shown) {
	money := payout.Amount(p.Amount).String()
	if p.State == result.StateSkipped {
		money = "not sent"
	}
	v.out("%s  %s  %s  %s, %s  %s (%s)", p.PaymentID, money, p.To, p.State, p.Action, p.Rows[0].File, p.Rows[0].LoadedAt.Format(time.DateOnly))
}

func (v *viewer) out(format string, args ...any) {
	_, _ = fmt.Fprintf(v.a.w.stdout, format+"\n", args...)
}

// print shows everything about a payout.
func (v *viewer) print(p shown) {
	v.out("payment_id  %s, project %d", p.PaymentID, p.ProjectID)
	if p.State != result.StateSkipped {
		v.out("amount      %s to %s, %s", payout.Amount(p.Amount), p.To, p.Method)
	}
	v.out("state       %s", p.State)
	v.out("action      %s", p.Action)
	if p.Why != "" {
		v.out("why         %s", p.Why)
	}
	if p.Reported+p.Code+p.Message != "" {
		v.out("reported    %s", reported(p.Reported, p.Code, p.Message))
	}
	if p.NextPoll != nil {
		v.out("next poll   %s, by masspay run or masspay reconcile", p.NextPoll.Format(time.RFC3339))
	}
	for _, q := range p.Family {
		v.out("same row    %s: %s, %s to %s", q.PaymentID, q.State, payout.Amount(q.Amount), q.To)
	}
	for _, r := range p.Rows {
		v.out("row         line %d of %s, batch %s, loaded %s", r.Line, r.File, r.Batch[:min(12, len(r.Batch))], r.LoadedAt.Format(time.RFC3339))
		for i, c := range r.columns {
			if i < len(r.cells) && r.cells[i] != "" {
				v.out("            %s: %s", c, printable(r.cells[i]))
			}
		}
	}
	if len(p.Events) == 0 {
		v.out("history     nothing happened to it yet")
		return
	}
	v.out("history")
	runs := map[uint64]bool{}
	for _, e := range p.Events {
		run := ""
		if e.Run != 0 {
			run = fmt.Sprintf(" (run %d)", e.Run)
		}
		v.out("  %s  %s%s", e.At.UTC().Format(time.RFC3339), e.Text, run)
		if detail := e.detail(); detail != "" {
			v.out("                        %s", detail)
		}
		runs[e.Run] = e.Run != 0
	}
	if p.Dropped > 0 {
		v.out("  %s between them were not kept", count(p.Dropped, "event"))
	}
	for _, e := range p.Events {
		if r, ok := v.runs[e.Run]; ok && runs[e.Run] {
			runs[e.Run] = false
			v.out("run %-7d masspay %s%s by %s@%s, %s, version %s", r.Number, r.Command, behind(" ", r.File), r.User, r.Host, r.At.UTC().Format(time.RFC3339), r.Version)
		}
	}
}

func behind(space, s string) string {
	if s == "" {
		return ""
	}
	return space + s
}

// detail is what else is known of an event.
func (e shownEvent) detail() string {
	from := map[string]string{"run": "", "callback": "callback", "status": "poll", "person": "", "store": "store"}[e.Source]
	parts := []string{from, reported(e.Status, e.Code, e.Message)}
	if e.Amount != nil {
		parts = append(parts, "amount "+payout.Amount(*e.Amount).String())
	}
	if e.Field != "" {
		parts = append(parts, "of another payment, "+e.Field+" differs or is missing: not believed")
	}
	if e.Conflict {
		parts = append(parts, "contradicts what was known")
	}
	if e.Person != "" {
		parts = append(parts, "by "+e.Person)
	}
	if e.Reason != "" {
		parts = append(parts, "reason: "+e.Reason)
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// reported is what the gate said, in its own words.
func reported(status, code, message string) string {
	var parts []string
	if status != "" {
		parts = append(parts, strconv.Quote(status))
	}
	if code != "" {
		parts = append(parts, "code "+code)
	}
	if message != "" {
		parts = append(parts, printable(message))
	}
	return strings.Join(parts, ", ")
}

// printable is a text of others on one line, as it may be shown.
func printable(s string) string {
	return withoutControls(strings.ReplaceAll(s, "\n", " "))
}
