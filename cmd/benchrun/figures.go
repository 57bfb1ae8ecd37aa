package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"

	"masspay/payout"
)

// figures is what was measured of one thing, of each side: masspay, or masspay before a
// change and after it.
type figures struct {
	what, format string
	of           [2][]float64
}

// measured collects figures in the order in which they are first measured.
type measured struct {
	all []*figures
}

func (m *measured) add(side int, what, format string, values []float64) {
	i := slices.IndexFunc(m.all, func(f *figures) bool { return f.what == what })
	if i < 0 {
		i = len(m.all)
		m.all = append(m.all, &figures{what: what, format: format})
	}
	f := m.all[i]
	f.of[side] = append(f.of[side], values...)
}

// render prints a row for each thing: the median of one side, or both and their ratio,
// which is the median of the pairs.
func (m *measured) render(out io.Writer, compared bool) {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.AppendHeader(table.Row{"what", "median", "least", "most"})
	if compared {
		t.ResetHeaders()
		t.AppendHeader(table.Row{"what", "before", "now", "now over before", "least", "most"})
	}
	for _, f := range m.all {
		before, now := f.of[0], f.of[1]
		if !compared {
			least, middle, most := spread(before)
			t.AppendRow(table.Row{f.what, f.show(middle), f.show(least), f.show(most)})
			continue
		}
		var ratios []float64
		for i := range min(len(before), len(now)) {
			ratios = append(ratios, now[i]/before[i])
		}
		if len(ratios) == 0 {
			continue
		}
		_, b, _ := spread(before)
		_, n, _ := spread(now)
		least, middle, most := spread(ratios)
		t.AppendRow(table.Row{f.what, f.show(b), f.show(n), fmt.Sprintf("%.2f", middle), fmt.Sprintf("%.2f", least), fmt.Sprintf("%.2f", most)})
	}
	t.Render()
}

func spread(values []float64) (least, median, most float64) {
	values = slices.Sorted(slices.Values(values))
	return values[0], values[len(values)/2], values[len(values)-1]
}

func (f *figures) show(v float64) string {
	s := fmt.Sprintf(f.format, v)
	if whole, err := strconv.ParseInt(s, 10, 64); err == nil {
		return payout.FormatNumber(whole)
	}
	return s
}
