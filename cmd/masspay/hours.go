package main

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a container without it has no time zones
)

// window is when payouts may be sent: on some days of the week, from one minute of the day
// to another, which is the next day's where it is not later.
type window struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes
	text     string
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseWindow reads "mon-fri 08:00-20:00", "sat,sun 10:00-12:00" and "08:00-20:00".
func parseWindow(text string) (w window, err error) {
	wrong := fmt.Errorf("%s: want days and times, as mon-fri 08:00-20:00", said(text))
	w.text = text
	days, times, found := strings.Cut(text, " ")
	if !found {
		days, times = "sun-sat", text
	}
	for _, part := range strings.Split(strings.ToLower(days), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		i, j := weekday(first), weekday(last)
		if i < 0 || j < 0 {
			return w, wrong
		}
		for w.days[i] = true; i != j; w.days[i] = true {
			i = (i + 1) % 7
		}
	}
	from, to, found := strings.Cut(times, "-")
	var ok, alsoOK bool
	w.from, ok = minuteOfDay(from)
	w.to, alsoOK = minuteOfDay(to)
	if !found || !ok || !alsoOK || w.from == w.to || w.from == 24*60 {
		return w, wrong
	}
	return w, nil
}

func weekday(name string) int {
	for i, d := range weekdays {
		if d == name {
			return i
		}
	}
	return -1
}

// minuteOfDay reads "08:00", and "24:00" as the end of the day.
func minuteOfDay(text string) (int, bool) {
	if text == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("08:00") {
		return 0, false
	}
	return t.Hour()*60 + t.Minute(), true
}

// on is the window that begins on a day.
func (w window) on(year int, month time.Month, day int, zone *time.Location) (from, to time.Time, ok bool) {
	if !w.days[time.Date(year, month, day, 12, 0, 0, 0, zone).Weekday()] {
		return from, to, false
	}
	end := day
	if w.to <= w.from {
		end++
	}
	return time.Date(year, month, day, 0, w.from, 0, 0, zone), time.Date(year, month, end, 0, w.to, 0, 0, zone), true
}

// hours are when payouts may be sent; none: always.
type hours struct {
	windows []window
	zone    *time.Location
}

func (l limitsConfig) hours() (h hours, problems []string) {
	h.zone = time.Local
	if l.Timezone != "" {
		zone, err := time.LoadLocation(l.Timezone)
		if err != nil {
			problems = append(problems, fmt.Sprintf("limits.timezone %s: want the name of a time zone, as Asia/Bishkek", said(l.Timezone)))
		} else {
			h.zone = zone
		}
	}
	for i, text := range l.Hours {
		w, err := parseWindow(text)
		if err != nil {
			problems = append(problems, fmt.Sprintf("limits.hours[%d] %v", i, err))
			continue
		}
		h.windows = append(h.windows, w)
	}
	return h, problems
}

// dayBegan is when the day of a time began, where limits count days.
func (l limitsConfig) dayBegan(at time.Time) time.Time {
	h, _ := l.hours() // validated before
	year, month, day := at.In(h.zone).Date()
	return time.Date(year, month, day, 0, 0, 0, 0, h.zone)
}

// open reports whether payouts may be sent at a time, and until when; the zero time: without
// an end.
func (h hours) open(at time.Time) (until time.Time, ok bool) {
	if len(h.windows) == 0 {
		return until, true
	}
	const longest = 8 // days: longer is without an end
	for until = at; until.Sub(at) < longest*24*time.Hour; {
		end, within := h.within(until)
		if !within {
			return until, until.After(at)
		}
		until = end
	}
	return time.Time{}, true
}

// within is the latest end of the windows that a time is in.
func (h hours) within(at time.Time) (end time.Time, ok bool) {
	at = at.In(h.zone)
	for _, w := range h.windows {
		for back := range 2 {
			from, to, has := w.on(at.Year(), at.Month(), at.Day()-back, h.zone)
			if has && !at.Before(from) && at.Before(to) && to.After(end) {
				end, ok = to, true
			}
		}
	}
	return end, ok
}

// next is when the next window opens.
func (h hours) next(at time.Time) (opens time.Time) {
	at = at.In(h.zone)
	for _, w := range h.windows {
		for ahead := range 9 {
			from, _, has := w.on(at.Year(), at.Month(), at.Day()+ahead, h.zone)
			if has && from.After(at) && (opens.IsZero() || from.Before(opens)) {
				opens = from
			}
		}
	}
	return opens
}

// mayNow refuses to send outside the hours, and says until when it may.
func (c *config) mayNow(now time.Time) (until time.Time, err error) {
	h, _ := c.Limits.hours() // validated before
	until, ok := h.open(now)
	if ok {
		return until, nil
	}
	const at = "Mon 2 January 15:04 MST"
	return until, failf(exitHeld, "the same command again from "+h.next(now).Format(at)+" on",
		"it is %s, and payouts may be sent %s (limits.hours); nothing was sent", now.In(h.zone).Format(at), strings.Join(c.Limits.Hours, ", "))
}

// until reads --until: the next time that the clock shows it.
func (c *config) until(text string, now time.Time) (time.Time, error) {
	h, _ := c.Limits.hours()
	minutes, ok := minuteOfDay(text)
	if !ok {
		return time.Time{}, failf(exitConfig, "e.g. --until 06:00", "--until %s: want a time of the day; nothing was sent", said(text))
	}
	now = now.In(h.zone)
	at := time.Date(now.Year(), now.Month(), now.Day(), 0, minutes, 0, 0, h.zone)
	if !at.After(now) {
		at = time.Date(now.Year(), now.Month(), now.Day()+1, 0, minutes, 0, 0, h.zone)
	}
	return at, nil
}

// sendsUntil is until when a run may send that begins now: as --until says, where it does,
// and within the hours. The zero time: without an end.
func (c *config) sendsUntil(flag string, now time.Time) (until time.Time, err error) {
	if until, err = c.mayNow(now); err != nil || flag == "" {
		return until, err
	}
	asked, err := c.until(flag, now)
	if err == nil && (until.IsZero() || asked.Before(until)) {
		until = asked
	}
	return until, err
}
