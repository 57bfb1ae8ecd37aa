package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"masspay/batch"
	"masspay/payout"
	"masspay/store"
)

// The rules of what people read: stdout has the result only, everything else is
// stderr; numbers have thousands separators and units; messages are lower case,
// without a full stop, and say what did not happen to the money; never a colour
// or a question where nobody sits.

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "ch") {
		what += "e"
	}
	return payout.Count(n) + " " + what + "s"
}

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
			clockOf(morning, now), payout.Count(int(math.Ceil(float64(n)/left.Seconds()))))
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
func tally(b store.Batch) batch.Summary {
	s := batch.Summary{ByWord: map[string]batch.Sum{}}
	add := func(word string, n int, minor int64, currency string) {
		if n == 0 {
			return
		}
		sum := s.ByWord[word]
		if sum.Amounts == nil {
			sum.Amounts = map[string]int64{}
		}
		sum.Rows += n
		sum.Amounts[currency] += minor
		s.ByWord[word] = sum
		s.Rows += n
	}
	for _, c := range b.Counts {
		add(batch.StateWord(c.State), c.N-c.Check, c.Amount.Minor-c.Minor, c.Amount.Currency)
		add(batch.WordCheck, c.Check, c.Minor, c.Amount.Currency)
	}
	if b.Skipped > 0 {
		s.ByWord[batch.WordSkipped] = batch.Sum{Rows: b.Skipped}
		s.Rows += b.Skipped
	}
	return s
}

// printSummary prints rows and amounts by word.
func printSummary(w io.Writer, s batch.Summary) {
	var currencies []string
	for _, sum := range s.ByWord {
		for currency := range sum.Amounts {
			if !slices.Contains(currencies, currency) {
				currencies = append(currencies, currency)
			}
		}
	}
	slices.Sort(currencies)
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(plainStyle())
	header := table.Row{"state", "rows"}
	configs := []table.ColumnConfig{{Number: 2, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight}}
	for i, c := range currencies {
		header = append(header, c)
		configs = append(configs, table.ColumnConfig{Number: i + 3, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	t.AppendHeader(header)
	totals := map[string]int64{}
	for _, word := range batch.Words {
		sum, ok := s.ByWord[word]
		if !ok || sum.Rows == 0 {
			continue
		}
		row := table.Row{word, payout.Count(sum.Rows)}
		for _, c := range currencies {
			row = append(row, major(sum.Amounts[c], c))
			totals[c] += sum.Amounts[c]
		}
		t.AppendRow(row)
	}
	footer := table.Row{"all", payout.Count(s.Rows)}
	for _, c := range currencies {
		footer = append(footer, major(totals[c], c))
	}
	t.AppendFooter(footer)
	t.Render()
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
