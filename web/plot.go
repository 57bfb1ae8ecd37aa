package web

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"masspay/store"
)

// mostBars is how many steps a plot has; minutes are grouped until they are no more.
const mostBars = 240

// steps are by how many minutes they are grouped.
var steps = []int{1, 2, 5, 15, 60, 240, 1440}

// step is what passed within some minutes.
type step struct {
	At, To time.Time
	store.Flow
}

// stepsOf groups minutes into steps without gaps, no more than most.
func stepsOf(minutes []store.Minute, most int) (all []step, each time.Duration) {
	if len(minutes) == 0 {
		return nil, 0
	}
	first, last := minutes[0].At, minutes[len(minutes)-1].At
	each = time.Minute
	for _, n := range steps {
		each = time.Duration(n) * time.Minute
		if int(last.Truncate(each).Sub(first.Truncate(each))/each) < most {
			break
		}
	}
	first = first.Truncate(each)
	if most < int(last.Sub(first)/each)+1 {
		first = last.Truncate(each).Add(-time.Duration(most-1) * each) // what is older than months
	}
	for at := first; !at.After(last); at = at.Add(each) {
		all = append(all, step{At: at, To: at.Add(each)})
	}
	for i := range minutes {
		if n := int(minutes[i].At.Sub(first) / each); n >= 0 && !minutes[i].At.Before(first) {
			all[n].Plus(&minutes[i].Flow)
		}
	}
	return all, each
}

// line is one series of a plot.
type line struct {
	Class, Word string // a style's class, and the id of its name
	Of          func(s *step) float64
	Area        bool
}

// plot is a drawing of what passed, with the same in numbers.
type plot struct {
	Title string // id of its words
	Lines []line
	Steps []step
	Each  time.Duration
	Unit  func(v *view, value float64) string
}

// The size of a plot's drawing, in its own units.
const (
	plotWidth, plotHeight = 1000.0, 220.0
	plotTop, plotBottom   = 22.0, 26.0
)

// Short reports whether there is too little to draw: numbers say it better.
func (p *plot) Short() bool { return len(p.Steps) < 3 }

// most is where the scale ends: a round number, not below any value.
func (p *plot) most() float64 {
	most := 0.0
	for i := range p.Steps {
		for _, l := range p.Lines {
			most = max(most, l.Of(&p.Steps[i]))
		}
	}
	for scale := 0.01; ; scale *= 10 {
		for _, round := range []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
			if at := scale * round; at >= most && at > 0 {
				return at
			}
		}
	}
}

// SVG draws a plot that is not short: lines over the time, an area below the first, a scale on
// the left and times below.
func (p *plot) SVG(v *view) template.HTML {
	var b strings.Builder
	e := template.HTMLEscapeString
	most := p.most()
	x := func(i int) float64 { return (float64(i) + 0.5) * plotWidth / float64(len(p.Steps)) }
	y := func(value float64) float64 {
		return plotHeight - plotBottom - value/most*(plotHeight-plotTop-plotBottom)
	}
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %g %g" role="img" aria-label="%s">`, plotWidth, plotHeight, e(v.T(p.Title)))
	for _, share := range []float64{0, 0.5, 1} {
		at := num(y(most * share))
		fmt.Fprintf(&b, `<line class="grid" x1="0" x2="%g" y1="%s" y2="%s"/>`, plotWidth, at, at)
		fmt.Fprintf(&b, `<text class="scale" x="2" y="%s">%s</text>`, num(y(most*share)-4), e(p.Unit(v, most*share)))
	}
	for _, l := range p.Lines {
		var path strings.Builder
		for i := range p.Steps {
			fmt.Fprintf(&path, "%s%s %s", map[bool]string{true: "M", false: "L"}[i == 0], num(x(i)), num(y(l.Of(&p.Steps[i]))))
		}
		if l.Area {
			fmt.Fprintf(&b, `<path class="area %s" d="%sL%s %sL%s %sZ"/>`, l.Class, path.String(), num(x(len(p.Steps)-1)), num(y(0)), num(x(0)), num(y(0)))
		}
		fmt.Fprintf(&b, `<path class="line %s" d="%s"/>`, l.Class, path.String())
	}
	marks := min(5, len(p.Steps))
	for i := range marks {
		n := i * (len(p.Steps) - 1) / (marks - 1)
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case marks - 1:
			anchor = "end"
		}
		fmt.Fprintf(&b, `<text class="when" x="%s" y="%g" text-anchor="%s">%s</text>`, num(x(n)), plotHeight-6, anchor, e(p.Steps[n].At.In(v.Zone).Format(p.layout(v))))
	}
	for i := range p.Steps { // what is told where a pointer rests
		var told []string
		for _, l := range p.Lines {
			told = append(told, v.T(l.Word)+" "+p.Unit(v, l.Of(&p.Steps[i])))
		}
		width := plotWidth / float64(len(p.Steps))
		fmt.Fprintf(&b, `<rect class="hit" x="%s" y="0" width="%s" height="%g"><title>%s: %s</title></rect>`, num(x(i)-width/2), num(width), plotHeight-plotBottom,
			e(p.Steps[i].At.In(v.Zone).Format(timeLayouts[v.Lang].minute)), e(strings.Join(told, ", ")))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // numbers, and escaped words
}

// layout is how times stand below a plot: with days where it spans more than one.
func (p *plot) layout(v *view) string {
	first, last := p.Steps[0].At.In(v.Zone), p.Steps[len(p.Steps)-1].At.In(v.Zone)
	if first.YearDay() == last.YearDay() && first.Year() == last.Year() {
		return "15:04"
	}
	return timeLayouts[v.Lang].minute
}

func num(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// Rows are the plot in numbers: steps in which anything was, the newest first.
func (p *plot) Rows() (rows []step) {
	for i := len(p.Steps) - 1; i >= 0; i-- {
		for _, l := range p.Lines {
			if l.Of(&p.Steps[i]) > 0 {
				rows = append(rows, p.Steps[i])
				break
			}
		}
	}
	return rows
}

// Value is a number of a row.
func (p *plot) Value(v *view, l line, s step) string { return p.Unit(v, l.Of(&s)) }

func count(f func(s *step) int64) func(s *step) float64 {
	return func(s *step) float64 { return float64(f(s)) }
}

func inNumbers(v *view, value float64) string {
	if value > 0 && value < 1 {
		return v.separate(strconv.FormatFloat(value, 'g', 2, 64))
	}
	return v.Num(int(value + 0.5))
}

func inSeconds(v *view, value float64) string {
	if value < 1 {
		return strconv.Itoa(int(value*1000+0.5)) + "\u00a0ms"
	}
	return v.separate(strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0")) + "\u00a0" + v.T("unit.s")
}

func quantile(t store.Times, share float64) func(s *step) float64 {
	return func(s *step) float64 {
		bound, _, _ := s.Quantile(t, share)
		return bound.Seconds()
	}
}

// plotsOf are the plots of a file's minutes.
func plotsOf(minutes []store.Minute) (plots []*plot) {
	all, each := stepsOf(minutes, mostBars)
	if len(all) == 0 {
		return nil
	}
	var sum store.Flow
	for i := range all {
		sum.Plus(&all[i].Flow)
	}
	passed := &plot{Title: "plot.passed", Steps: all, Each: each, Unit: inNumbers, Lines: []line{
		{"p-sent", "plot.sent", count(func(s *step) int64 { return s.Answers() }), true},
		{"p-paid", "plot.outcomes", count(func(s *step) int64 { return s.Outcomes() }), false},
	}}
	plots = append(plots, passed)
	if sum.N(store.AnswerTimes) > 0 {
		plots = append(plots, &plot{Title: "plot.answers", Steps: all, Each: each, Unit: inSeconds, Lines: []line{
			{"p-sent", "plot.p95", quantile(store.AnswerTimes, 0.95), true}, {"p-paid", "plot.p50", quantile(store.AnswerTimes, 0.5), false},
		}})
	}
	if sum.N(store.OutcomeTimes) > 0 {
		plots = append(plots, &plot{Title: "plot.verdicts", Steps: all, Each: each, Unit: inSeconds, Lines: []line{
			{"p-sent", "plot.p95", quantile(store.OutcomeTimes, 0.95), true}, {"p-paid", "plot.p50", quantile(store.OutcomeTimes, 0.5), false},
		}})
	}
	if sum[store.InDoubt]+sum[store.Refused]+sum[store.NotSent] > 0 {
		plots = append(plots, &plot{Title: "plot.bad", Steps: all, Each: each, Unit: inNumbers, Lines: []line{
			{"p-doubt", "plot.doubt", count(func(s *step) int64 { return s.Flow[store.InDoubt] }), true},
			{"p-bad", "plot.refused", count(func(s *step) int64 { return s.Flow[store.Refused] + s.Flow[store.NotSent] }), false},
		}})
	}
	return plots
}

// spark is a small drawing of a night: requests as an area, outcomes as a line.
func spark(v *view, minutes []store.Minute) template.HTML {
	const bars, width, height = 40, 120.0, 28.0
	all, _ := stepsOf(minutes, bars)
	if len(all) < 3 {
		return "" // too little to draw
	}
	most := 1.0
	for i := range all {
		most = max(most, float64(all[i].Answers()), float64(all[i].Outcomes()))
	}
	path := func(of func(s *step) int64) string {
		var b strings.Builder
		for i := range all {
			fmt.Fprintf(&b, "%s%s %s", map[bool]string{true: "M", false: "L"}[i == 0], num((float64(i)+0.5)*width/float64(len(all))), num(height-2-float64(of(&all[i]))/most*(height-4)))
		}
		return b.String()
	}
	sent := path(func(s *step) int64 { return s.Answers() })
	first, last := width/float64(len(all))/2, width-width/float64(len(all))/2
	label := v.T("plot.spark", "From", all[0].At.In(v.Zone).Format(timeLayouts[v.Lang].minute), "To", all[len(all)-1].To.In(v.Zone).Format(timeLayouts[v.Lang].minute))
	return template.HTML(fmt.Sprintf(`<svg class="spark" viewBox="0 0 %g %g" role="img" aria-label="%s"><path class="area p-sent" d="%sL%s %gL%s %gZ"/><path class="line p-paid" d="%s"/></svg>`, //nolint:gosec // numbers, and escaped words
		width, height, template.HTMLEscapeString(label), sent, num(last), height-2, num(first), height-2, path(func(s *step) int64 { return s.Outcomes() })))
}
