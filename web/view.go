package web

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// view is how one viewer sees pages: language, time zone, theme, and whether they go on
// reading. Templates call its methods.
type view struct {
	*words
	Zone  *time.Location
	Theme string // light, dark, or empty: as the system has it
	Base  string
	Now   time.Time
	Title string
	URL   *url.URL // of this page

	Live    string    // how often this page is read again, as 2s; empty: not
	Paused  bool      // by the viewer
	AsOf    time.Time // of when the figures are
	Version string
	Footer  string // what a print names: the file and its SHA-256
	Section string // of the navigation
}

// view reads a viewer's choices.
func (p *Pages) view(r *http.Request) *view {
	c := choicesOf(r)
	v := &view{
		words: wordsFor(c.Get("lang"), r.Header.Get("Accept-Language")), Zone: p.Zone, Theme: c.Get("theme"), Base: p.Base, Now: p.now(), URL: r.URL,
		Paused: r.URL.Query().Get("live") == "off", Version: p.Version,
	}
	if v.Zone == nil {
		v.Zone = time.Local
	}
	if name := c.Get("zone"); name != "" {
		if zone, err := time.LoadLocation(name); err == nil {
			v.Zone = zone
		}
	}
	v.AsOf = v.Now
	return v
}

// live makes the page read itself again while what it shows may change.
func (v *view) live(every time.Duration, changes bool) {
	if changes && !v.Paused {
		v.Live = fmt.Sprintf("%ds", int(every.Seconds()))
	}
}

// With is this page with another value in its query.
func (v *view) With(name, value string) string {
	q := v.URL.Query()
	if q.Set(name, value); value == "" {
		q.Del(name)
	}
	if len(q) == 0 {
		return v.Base + v.URL.Path
	}
	return v.Base + v.URL.Path + "?" + q.Encode()
}

// Payout is the page of a payout.
func (v *view) Payout(k payout.Key) string {
	q := url.Values{"project": {strconv.FormatUint(uint64(k.ProjectID), 10)}, "id": {k.PaymentID}}
	return v.Base + "/payout?" + q.Encode()
}

// download is a list of this page, as a file at a path.
func (v *view) download(path string) string {
	q := v.URL.Query()
	q.Del("after")
	q.Del("live")
	return v.Base + path + "?" + q.Encode()
}

// Here is this page.
func (v *view) Here() string { return v.With("", "") }

// Back is where the settings lead back to: this page, and from the settings the one before.
func (v *view) Back() string { return v.Here() }

// ZoneName names the zone of the page's times.
func (v *view) ZoneName() string {
	if v.Zone == time.Local {
		name, _ := v.Now.In(v.Zone).Zone()
		return name
	}
	return v.Zone.String()
}

// Num is a number with thousands separators.
func (v *view) Num(n int) string { return v.separate(payout.FormatNumber(n)) }

// separate puts the language's separators in the place of English ones.
func (v *view) separate(number string) string {
	if v.Lang == "ru" {
		return strings.NewReplacer(",", "\u00a0", ".", ",").Replace(number)
	}
	return number
}

// Money is an amount without its currency.
func (v *view) Money(a payout.Amount) string {
	return v.separate(strings.TrimSuffix(a.String(), " "+a.Currency))
}

// Sum is an amount with its currency.
func (v *view) Sum(a payout.Amount) template.HTML {
	return template.HTML(`<span class="sum">` + template.HTMLEscapeString(v.Money(a)) + ` <span class="cur">` + template.HTMLEscapeString(a.Currency) + `</span></span>`) //nolint:gosec // escaped
}

// Percent is a share of a whole, in percent: never 100 or 0 for what is not all or none.
func (v *view) Percent(n, of int) string {
	if of <= 0 {
		return ""
	}
	tenths := (int64(n)*1000 + int64(of)/2) / int64(of)
	if n > 0 {
		tenths = max(tenths, 1)
	}
	if n < of {
		tenths = min(tenths, 999)
	}
	text := strconv.FormatInt(tenths/10, 10)
	if tenths%10 != 0 {
		text += v.separate("." + strconv.FormatInt(tenths%10, 10))
	}
	return text + "\u00a0%"
}

var timeLayouts = map[string]struct{ day, minute, second, clock string }{
	"en": {"2 Jan 2006", "2 Jan 2006, 15:04", "2 Jan 2006, 15:04:05", "15:04:05"},
	"ru": {"02.01.2006", "02.01.2006, 15:04", "02.01.2006, 15:04:05", "15:04:05"},
}

func (v *view) time(t time.Time, layout string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `">` + template.HTMLEscapeString(t.In(v.Zone).Format(layout)) + `</time>`) //nolint:gosec // digits and a month
}

// Time is a moment to the minute, Second one to the second, and Clock one of today.
func (v *view) Time(t time.Time) template.HTML   { return v.time(t, timeLayouts[v.Lang].minute) }
func (v *view) Second(t time.Time) template.HTML { return v.time(t, timeLayouts[v.Lang].second) }
func (v *view) Clock(t time.Time) template.HTML  { return v.time(t, timeLayouts[v.Lang].clock) }

// Moment is a moment to the minute, within a sentence.
func (v *view) Moment(t time.Time) string { return t.In(v.Zone).Format(timeLayouts[v.Lang].minute) }

// Span is a duration in two units at the most. A negative one means that a clock was set.
func (v *view) Span(d time.Duration) string {
	n := func(id string, n int) string { return strconv.Itoa(n) + "\u00a0" + v.T("unit."+id) }
	s := int(d.Round(time.Second).Seconds())
	switch {
	case d < 0:
		return v.T("unit.clock")
	case d < time.Second:
		return v.T("unit.under", "Of", n("s", 1))
	case s < 60:
		return n("s", s)
	case s < 3600 && s%60 == 0:
		return n("min", s/60)
	case s < 3600:
		return n("min", s/60) + " " + n("s", s%60)
	case s < 48*3600:
		return n("h", s/3600) + " " + n("min", s%3600/60)
	}
	return n("d", s/86400) + " " + n("h", s%86400/3600)
}

// State is result.state as a tag: a word, a shape and a quiet colour.
func (v *view) State(state string) template.HTML {
	return v.tag(state, v.T("state."+strings.ReplaceAll(state, " ", "_")), state)
}

// tag is a word with a shape.
func (v *view) tag(class, word, title string) template.HTML {
	e := template.HTMLEscapeString
	attr := ""
	if v.Lang != "en" && title != "" {
		attr = ` title="` + e(title) + `"`
	}
	return template.HTML(`<span class="tag s-` + e(strings.ReplaceAll(class, " ", "-")) + `"` + attr + `><span class="shape" aria-hidden="true"></span>` + e(word) + `</span>`) //nolint:gosec // escaped
}

// Action is result.action in the viewer's words.
func (v *view) Action(action string) string {
	return v.T("action." + strings.ReplaceAll(action, " ", "_"))
}

// States and Actions are those of results.
func (v *view) States() []string  { return result.States }
func (v *view) Actions() []string { return result.Actions }

// ShortID is the part of a batch's id that people read.
func (v *view) ShortID(id string) string { return id[:min(12, len(id))] }

// Sums are the sums of several currencies, each once.
func (v *view) Sums(s result.Sum) []payout.Amount { return sums(s) }

func sums(s result.Sum) []payout.Amount {
	all := make([]payout.Amount, 0, len(s.Money))
	for currency, part := range s.Money {
		all = append(all, payout.Amount{Minor: part.Minor, Currency: currency})
	}
	slices.SortFunc(all, func(a, b payout.Amount) int { return strings.Compare(a.Currency, b.Currency) })
	return all
}

// V is the view itself, for templates within templates.
func (v *view) V() *view { return v }

// StateWord is result.state in the viewer's words.
func (v *view) StateWord(state string) string {
	return v.T("state." + strings.ReplaceAll(state, " ", "_"))
}

// StateOf is result.state of a payout, as a tag.
func (v *view) StateOf(p payout.Payout) template.HTML { return v.State(result.StateOf(p)) }

// Tag is what a batch is at.
func (v *view) Tag(s statement) template.HTML { return v.tag(s.Kind, v.T(s.ID, "N", s.N), "") }

// Exit is how a run ended, as a tag.
func (v *view) Exit(class, id string) template.HTML { return v.tag(class, v.T(id), "") }

// ExitOf is how a run ended, in words.
func (v *view) ExitOf(r store.Run) string { return v.T(ranOf(r).Said) }

// FileOf is the file of a run, without the folders that it was in.
func (v *view) FileOf(r store.Run) string { return r.File[strings.LastIndexAny(r.File, `/\`)+1:] }

// ActionHow says what an action means.
func (v *view) ActionHow(action string) string {
	return v.T("how." + strings.ReplaceAll(action, " ", "_"))
}
