package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"masspay/payout"
)

// pacing measures what a gate sees of a rate: the most requests in any second, and
// how much of the rate is used while there is work.
func (b *bench) pacing(ctx context.Context, over time.Duration) error {
	for _, rate := range []int{10, 100, 1000} {
		for _, processes := range []int{1, 3} {
			if err := b.pace(ctx, rate, processes, over); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) pace(ctx context.Context, rate, processes int, over time.Duration) error {
	gate, stop, err := watch(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stop() }()
	folder, err := b.storeAt(ctx, fmt.Sprintf("pace-%d-%d", rate, processes), gate.base, rate, 1)
	if err != nil {
		return err
	}
	return b.paceIn(ctx, folder, gate, rate, processes, over)
}

// paceIn measures it with a store that is there.
func (b *bench) paceIn(ctx context.Context, folder string, gate *watched, rate, processes int, over time.Duration) error {
	rows := rate*int(over/time.Second+30)/processes + 1
	for n := range processes {
		file := filepath.Join(folder, fmt.Sprintf("%d.csv", n))
		if err := writeFile(file, n*rows, rows); err != nil {
			return err
		}
		stop, _, err := b.start(ctx, folder, "sending", "masspay", "run", "--wait", "0", file, "-o", fmt.Sprintf("result-%d.csv", n))
		if err != nil {
			return err
		}
		defer func() { _ = stop() }()
	}
	from := time.Now().Add(2 * time.Second) // until then one of them may still be alone
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Until(from.Add(over))):
	}
	used, most, first, all := 0, 0, 0, gate.seen(0)
	for last, at := range all {
		for at.Sub(all[first]) >= time.Second {
			first++
		}
		most = max(most, last-first+1)
		if !at.Before(from) && at.Before(from.Add(over)) {
			used++
		}
	}
	share := 100 * float64(used) / (float64(rate) * over.Seconds())
	what := fmt.Sprintf("%s/s, %d at once", payout.FormatNumber(rate), processes)
	b.tell("%s: at most %d in a second, %.1f %% of the rate used", what, most, share)
	b.add(what+": most in any second", "%.0f", []float64{float64(most)})
	b.add(what+": % of the rate used", "%.1f", []float64{share})
	return nil
}

// killed measures how long after a kill -9 in the middle of a large file the next
// run sends its first request.
func (b *bench) killed(ctx context.Context, rows int) error {
	gate, stopGate, err := watch(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stopGate() }()
	folder, err := b.storeAt(ctx, "killed", gate.base, 100_000, 1000)
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "file.csv")
	if err := writeFile(file, 0, rows); err != nil {
		return err
	}
	var took []float64
	for n := range b.runs + 1 {
		before := len(gate.seen(0))
		start := time.Now()
		kill, err := b.launch(ctx, folder, "masspay", "run", "--wait", "0", file, "-o", "result.csv")
		if err != nil {
			return err
		}
		at, err := gate.await(ctx, before)
		if err == nil && n == 0 {
			_, err = gate.await(ctx, rows/2)
		}
		if err == nil && n > 0 {
			took = append(took, at.Sub(start).Seconds())
			b.tell("after kill -9: first request after %v", at.Sub(start))
			_, err = gate.await(ctx, before+5_000)
		}
		if err := errors.Join(err, kill()); err != nil {
			return err
		}
	}
	b.add(fmt.Sprintf("kill -9 in %s rows, s to the next run's first request", payout.FormatNumber(rows)), "%.2f", took)
	return nil
}

const (
	stillOpen   = 4 // how masspay run ends when outcomes are missing
	defaultRate = 5 // of gate.rate
)

// waiting measures the CPU that waiting for outcomes costs at the default rate: what a run of a file
// that is sent takes more when it waits.
func (b *bench) waiting(ctx context.Context, rows int, over time.Duration) error {
	folder, err := b.storeAt(ctx, "waiting", b.gate, 100_000, 1000)
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "file.csv")
	if err := writeFile(file, 0, rows); err != nil {
		return err
	}
	if _, err := b.run(ctx, folder, "masspay", "run", "--wait", "0", file, "-o", "result.csv"); err != nil {
		return err
	}
	slow, err := b.slower(folder, defaultRate)
	if err != nil {
		return err
	}
	// Both look at what an earlier run has sent, and end with outcomes missing.
	var took [2]process
	for i, wait := range []string{"0", over.String()} {
		took[i], err = b.run(ctx, folder, "masspay", "run", "--config", slow, "--wait", wait, file, "-o", "result.csv")
		var open *exec.ExitError
		if err == nil && wait != "0" || err != nil && (!errors.As(err, &open) || open.ExitCode() != stillOpen) { // --wait 0 may take it for done
			return errors.Join(err, errors.New("masspay run --wait "+wait+" did not end with outcomes missing"))
		}
	}
	at, waited := took[0], took[1]
	b.add(fmt.Sprintf("waiting for %s outcomes, %% of a core", payout.FormatNumber(rows)), "%.1f", []float64{100 * (waited.cpu - at.cpu).Seconds() / over.Seconds()})
	return nil
}
