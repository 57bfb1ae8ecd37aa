package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"masspay/payout"
	"masspay/store"
)

// progress shows how far a batch is: a bar on a terminal, a line now and then
// elsewhere. It reads the counts that the store keeps, so it also shows what
// callbacks and other processes do.
type progress struct {
	a     *app
	s     store.Store
	batch string
	wait  time.Duration
	bar   *progressbar.ProgressBar // nil without a terminal

	mu    sync.Mutex // one writer at a time
	wg    sync.WaitGroup
	end   context.CancelFunc
	begun time.Time
	halt  time.Time // when sending stopped; zero: it goes on
	first int       // payouts that had been sent at the beginning
	last  string
	told  time.Time
}

const (
	barEvery  = 500 * time.Millisecond
	lineEvery = 10 * time.Second
	sameEvery = 5 * time.Minute // a line that says nothing new
)

func (a *app) progress(s store.Store, batch string, wait time.Duration) *progress {
	return &progress{a: a, s: s, batch: batch, wait: wait}
}

// terminal reports whether a person watches stderr.
func (w world) terminal() bool {
	f, ok := w.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *progress) start(ctx context.Context) {
	ctx, p.end = context.WithCancel(ctx)
	p.begun, p.first = time.Now(), -1
	every := lineEvery
	if p.a.w.terminal() {
		every = barEvery
		p.bar = progressbar.NewOptions(1,
			progressbar.OptionSetWriter(p.a.w.stderr), progressbar.OptionSetWidth(10),
			progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false),
			progressbar.OptionClearOnFinish(),
		)
	}
	p.wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				p.show(ctx)
			}
		}
	})
}

// stop waits for the last line and clears the bar.
func (p *progress) stop() {
	p.end()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// note prints a line that must not wait.
func (p *progress) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	p.a.say("%s masspay: %s", time.Now().Format(time.TimeOnly), text)
}

// halted notes that nothing more is sent by this run.
func (p *progress) halted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.halt = time.Now()
}

func (p *progress) show(ctx context.Context) {
	b, err := p.s.Batch(ctx, p.batch)
	if err != nil {
		return // the run itself will say what is wrong with the store
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	line := p.line(b, now)
	if p.bar == nil {
		if line != p.last || now.Sub(p.told) >= sameEvery {
			p.a.say("%s masspay: %s", now.Format(time.TimeOnly), line)
			p.last, p.told = line, now
		}
		return
	}
	total := b.Rows - b.Skipped
	p.bar.ChangeMax(max(total, 1))
	p.bar.Describe(p.a.w.fit(line))
	_ = p.bar.Set(total - b.Open())
}

// fit cuts a line so that it and the bar fit the terminal's width; a bar that
// wraps leaves its old lines behind.
func (w world) fit(line string) string {
	const bar = 24 // percent, borders, cursor
	width := 80
	if f, ok := w.stderr.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			width = n
		}
	}
	if room := max(width-bar, 10); len(line) > room {
		return line[:room-1] + "…"
	}
	return line
}

// line is the state of a batch in words: what is final, what waits for what,
// and how long the sending will go on. What matters most comes first.
func (p *progress) line(b store.Batch, now time.Time) string {
	total := b.Rows - b.Skipped
	unsent := b.InState(payout.StateNew) + b.InState(payout.StateSending)
	gone := total - unsent
	if p.first < 0 {
		p.first, p.begun = gone, now
	}
	parts := []string{fmt.Sprintf("%s of %s final", payout.FormatNumber(total-b.Open()), payout.FormatNumber(total))}
	if !p.halt.IsZero() {
		if left := b.Waiting() - b.Unsent(); left > 0 {
			parts = append(parts, fmt.Sprintf("waiting for %s, until %s at most", count(left, "outcome"), clockOf(p.halt.Add(p.wait), now)))
		}
		return strings.Join(append(parts, "sending stopped, "+payout.FormatNumber(b.Unsent())+" not sent"), ", ")
	}
	if unsent > 0 {
		parts = append(parts, payout.FormatNumber(unsent)+" to send")
		if d := now.Sub(p.begun).Seconds(); d > 1 && gone > p.first {
			rate := float64(gone-p.first) / d
			parts = append(parts, sendingTime(unsent, rate)+" left", fmt.Sprintf("%.1f/s", rate))
		}
	}
	if n := b.InState(payout.StateAccepted); n > 0 {
		parts = append(parts, payout.FormatNumber(n)+" open (accepted)")
	}
	if n := b.InState(payout.StateUnknown); n > 0 {
		parts = append(parts, payout.FormatNumber(n)+" open (no answer)")
	}
	return strings.Join(parts, ", ")
}
