package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"masspay/batch/payfile"
	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// The rules of what people read: stdout has the result only, everything else is
// stderr; numbers have thousands separators and units; messages are lower case,
// without a full stop, and say what did not happen to the money; never a colour
// or a question where there is no person.

func count(n int, what string) string { return payout.FormatQuantity(n, what) }

func amounts(list []payout.Amount) string {
	if len(list) == 0 {
		return "no money"
	}
	parts := make([]string, len(list))
	for i, a := range list {
		parts[i] = a.String()
	}
	return strings.Join(parts, " + ")
}

// forecast says how long the sending of so many payouts takes at a rate and, where
// that is worth knowing, when it will be through if it starts now.
func forecast(n int, rate float64, now time.Time) string {
	text := fmt.Sprintf("sending %s at %g requests a second takes %s", count(n, "payout"), rate, sendingTime(n, rate))
	d := time.Duration(float64(n) / rate * float64(time.Second))
	if d < time.Minute {
		return text
	}
	end := now.Add(d)
	text += ", until " + clockOf(end, now) + " if it starts now"
	morning := time.Date(now.Year(), now.Month(), now.Day(), morningHour, 0, 0, 0, now.Location())
	if !morning.After(now) {
		morning = morning.AddDate(0, 0, 1)
	}
	if left := morning.Sub(now); end.After(morning) && left >= time.Hour {
		text += fmt.Sprintf("\nhint: it will not be through by %s; that needs %s requests a second (gate.rate), if your contract allows them, or an earlier start",
			clockOf(morning, now), payout.FormatNumber(int(math.Ceil(float64(n)/left.Seconds()))))
	}
	return text
}

// morningHour is when people come and want the night's work done.
const morningHour = 8

// clockOf is a time of the near future for people.
func clockOf(t, now time.Time) string {
	days := func(t time.Time) int64 {
		return time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, time.UTC).Unix() / 86_400
	}
	switch days(t) - days(now) {
	case 0:
		return t.Format("15:04")
	case 1:
		return t.Format("15:04") + " tomorrow"
	}
	return t.Format("15:04 on Monday, 2 January")
}

// sendingTime is how long so many requests take at a rate, for people.
func sendingTime(n int, rate float64) string {
	d := time.Duration(float64(n) / rate * float64(time.Second))
	if d < time.Second {
		return "less than a second"
	}
	return "about " + span(d)
}

// span is a duration for people: two units at the most.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days %d h", int(d.Hours())/24, int(d.Hours())%24)
}

// tally is a batch's counts by the words that finance reads.
func tally(b store.Batch) result.Summary {
	var s result.Summary
	for _, c := range b.Counts {
		s.Add(result.StateName(c.State), c.N-c.Check, payout.Amount{Minor: c.Amount.Minor - c.Minor, Currency: c.Amount.Currency})
		s.Add(result.StateCheck, c.Check, payout.Amount{Minor: c.Minor, Currency: c.Amount.Currency})
		if c.State == payout.StateNew {
			s.Unsent.Add(c.N-c.Check, payout.Amount{Minor: c.Amount.Minor - c.Minor, Currency: c.Amount.Currency})
		}
	}
	s.Add(result.StateSkipped, b.Skipped, payout.Amount{})
	return s
}

// summaryTable shows rows and amounts by state and currency. It fits 80 columns.
func summaryTable(w io.Writer, s result.Summary) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(plainStyle())
	t.SuppressTrailingSpaces()
	t.AppendHeader(table.Row{"state", "rows", "amount", "currency"})
	right := text.AlignRight
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 2, Align: right, AlignHeader: right, AlignFooter: right}, {Number: 3, Align: right, AlignHeader: right, AlignFooter: right},
	})
	lines := func(word string, sum result.Sum, add func(table.Row)) {
		rest := sum.Rows
		for _, c := range slices.Sorted(maps.Keys(sum.Money)) {
			p := sum.Money[c]
			add(table.Row{word, payout.FormatNumber(p.Rows), major(p.Minor, c), c})
			rest -= p.Rows
		}
		if rest > 0 {
			add(table.Row{word, payout.FormatNumber(rest), "", ""}) // rows without an amount
		}
	}
	var all result.Sum
	for _, word := range result.States {
		sum := s.ByState[word]
		switch {
		case sum.Rows == 0:
		case word == result.StateOpen && s.Unsent.Rows > 0:
			lines(word+", not sent", s.Unsent, func(r table.Row) { t.AppendRow(r) })
			lines(word+", perhaps paid", less(sum, s.Unsent), func(r table.Row) { t.AppendRow(r) })
		case word == result.StateOpen:
			lines(word+", perhaps paid", sum, func(r table.Row) { t.AppendRow(r) })
		default:
			lines(word, sum, func(r table.Row) { t.AppendRow(r) })
		}
		all = plus(all, sum)
	}
	lines("all", all, func(r table.Row) { t.AppendFooter(r) })
	if s.Arrived.Rows > 0 {
		lines("arrived", s.Arrived, func(r table.Row) { t.AppendFooter(r) })
	}
	t.Render()
}

// groupTable shows payouts by method and bank, the largest sums first. It fits 80 columns.
func groupTable(w io.Writer, groups []payfile.Group) {
	const most = 20
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(plainStyle())
	t.SuppressTrailingSpaces()
	t.AppendHeader(table.Row{"method", "bank", "payouts", "amount", "currency"})
	right := text.AlignRight
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 1, WidthMax: 24}, {Number: 2, WidthMax: 20}, {Number: 3, Align: right, AlignHeader: right}, {Number: 4, Align: right, AlignHeader: right},
	})
	var all []payfile.Group // of all projects
	for _, g := range groups {
		i := slices.IndexFunc(all, func(h payfile.Group) bool {
			return h.Method == g.Method && h.Bank == g.Bank && h.Currency == g.Currency
		})
		if i < 0 {
			all = append(all, g)
			continue
		}
		all[i].Rows, all[i].Minor = all[i].Rows+g.Rows, all[i].Minor+g.Minor
	}
	for _, g := range all[:min(len(all), most)] {
		bank := g.Bank
		if bank == payfile.OtherBanks {
			bank = "others"
		}
		t.AppendRow(table.Row{printable(g.Method), printable(bank), payout.FormatNumber(g.Rows), major(g.Minor, g.Currency), g.Currency})
	}
	t.Render()
	if more := len(all) - most; more > 0 {
		_, _ = fmt.Fprintf(w, "... and %s more\n", payout.FormatNumber(more))
	}
}

// less is a sum without a part of it, and plus is two sums together.
func less(a, b result.Sum) result.Sum { return combine(a, b, -1) }
func plus(a, b result.Sum) result.Sum { return combine(a, b, +1) }

func combine(a, b result.Sum, sign int) result.Sum {
	out := result.Sum{Rows: a.Rows + sign*b.Rows, Money: map[string]result.Part{}}
	maps.Copy(out.Money, a.Money)
	for c, p := range b.Money {
		q := out.Money[c]
		out.Money[c] = result.Part{Rows: q.Rows + sign*p.Rows, Minor: q.Minor + int64(sign)*p.Minor}
	}
	maps.DeleteFunc(out.Money, func(_ string, p result.Part) bool { return p == result.Part{} })
	return out
}

// money is the money of a sum for people.
func money(s result.Sum) string {
	list := []payout.Amount{}
	for _, c := range slices.Sorted(maps.Keys(s.Money)) {
		list = append(list, payout.Amount{Minor: s.Money[c].Minor, Currency: c})
	}
	return amounts(list)
}

// major is an amount without its currency, which the column's head names.
func major(minor int64, currency string) string {
	return strings.TrimSuffix(payout.Amount{Minor: minor, Currency: currency}.String(), " "+currency)
}

// plainStyle reads well on a terminal, in a log and in a mail.
func plainStyle() table.Style {
	s := table.StyleDefault
	s.Format.Header, s.Format.Footer = text.FormatDefault, text.FormatDefault
	s.Options = table.Options{SeparateHeader: true, SeparateFooter: true, SeparateColumns: true}
	s.Box.PaddingLeft, s.Box.PaddingRight = "", ""
	s.Box.MiddleVertical, s.Box.MiddleSeparator = "  ", "--"
	return s
}
