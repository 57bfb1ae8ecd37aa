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
	first int // payouts that were past New at the beginning
}

const (
	barEvery  = 500 * time.Millisecond
	lineEvery = 10 * time.Second
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
			progressbar.OptionSetWriter(p.a.w.stderr), progressbar.OptionSetWidth(20),
			progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false),
			progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth(),
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

func (p *progress) show(ctx context.Context) {
	b, err := p.s.Batch(ctx, p.batch)
	if err != nil {
		return // the run itself will say what is wrong with the store
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	line := p.line(b, time.Now())
	if p.bar == nil {
		p.a.say("%s masspay: %s", time.Now().Format(time.TimeOnly), line)
		return
	}
	total := b.Rows - b.Skipped
	p.bar.ChangeMax(max(total, 1))
	p.bar.Describe(line)
	_ = p.bar.Set(total - b.Open())
}

// line is the state of a batch in words: what is settled, what waits for what,
// and how long the sending will go on.
func (p *progress) line(b store.Batch, now time.Time) string {
	total := b.Rows - b.Skipped
	unsent := b.InState(payout.StateNew)
	gone := total - unsent
	if p.first < 0 {
		p.first, p.begun = gone, now
	}
	parts := []string{fmt.Sprintf("%s of %s settled", payout.Count(total-b.Open()), payout.Count(total))}
	for _, c := range []struct {
		state payout.State
		word  string
	}{{payout.StateAccepted, "accepted"}, {payout.StateUnknown, "unknown"}, {payout.StateSending, "being sent"}, {payout.StateNew, "to send"}} {
		if n := b.InState(c.state); n > 0 {
			parts = append(parts, payout.Count(n)+" "+c.word)
		}
	}
	if d := now.Sub(p.begun).Seconds(); d > 1 && gone > p.first && unsent > 0 {
		rate := float64(gone-p.first) / d
		parts = append(parts, fmt.Sprintf("%.1f a second", rate), "about "+sendingTime(unsent, rate)+" left to send")
	}
	return strings.Join(parts, ", ")
}
