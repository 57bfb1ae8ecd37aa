package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"masspay/payout"
)

// controlsOn switches everything on that a finance team can switch on without a person's key, with
// limits that nothing is over.
const controlsOn = `limits:
  sidecar: true
  hours: ["00:00-24:00"]
  methods: [sbp-p2p]
  banks: [bakai, optima, mbank, other]
  rules: [{currency: KGS, least: 0.01, payout: 10000000.00, file: 1000000000000.00, day: 1000000000000.00, payee_day: 1000000000000.00}]
lookalikes: {days: 10, twins: warn, ids: warn, changed: warn}
breakers: {declined_percent: 50, declined_least: 20, hold: true}
`

const controlsOff = "lookalikes: {days: 0, twins: off, ids: off, changed: off}\n"

// controls measures what controls cost: the time from the start of a run to its first
// request, on a store that has last month's file of the same people, and a check
// of a large file.
func (b *bench) controls(ctx context.Context, rows, many int) error {
	gate, stopGate, err := watch(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stopGate() }()
	var first, speed, memory [2][]float64
	for n := range b.runs {
		for side, controls := range []string{controlsOff, controlsOn} {
			folder, err := b.storeAt(ctx, fmt.Sprint("controls", n, side), gate.base, 100_000, 1000)
			if err != nil {
				return err
			}
			p, took, err := b.controlled(ctx, folder, controls, gate, rows, many)
			if err != nil {
				return err
			}
			first[side] = append(first[side], took)
			speed[side], memory[side] = append(speed[side], float64(many)/p.took.Seconds()), append(memory[side], float64(p.memory)/mebibyte)
			_ = os.RemoveAll(folder)
		}
	}
	for side, name := range []string{"off", "on"} {
		b.add(fmt.Sprintf("first request of %s rows, controls %s, s", payout.FormatNumber(rows), name), "%.2f", first[side])
		b.add(fmt.Sprintf("check of %s rows, controls %s, rows/s", payout.FormatNumber(many), name), "%.0f", speed[side])
		b.add(fmt.Sprintf("the same, controls %s, peak MiB", name), "%.0f", memory[side])
	}
	return nil
}

// controlled is a check of a large file and a run of a smaller one, with controls or without.
func (b *bench) controlled(ctx context.Context, folder, controls string, gate *watched, rows, many int) (p process, took float64, err error) {
	config := filepath.Join(folder, "masspay.yaml")
	text, err := os.ReadFile(config) //nolint:gosec // in our own folder
	if err != nil {
		return p, 0, err
	}
	earlier, file, large := filepath.Join(folder, "earlier.csv"), filepath.Join(folder, "file.csv"), filepath.Join(folder, "large.csv")
	err = errors.Join(os.WriteFile(config, append(text, controls...), 0o600), writePayroll(earlier, 1, rows), writePayroll(file, 2, rows), writePayroll(large, 3, many))
	for _, name := range []string{earlier, file, large} {
		if err == nil {
			err = os.WriteFile(name+".ctl", []byte("series "+filepath.Base(name)[:4]+" 1\n"), 0o600)
		}
	}
	if err != nil {
		return p, 0, err
	}
	if _, err := b.run(ctx, folder, "masspay", "run", "--wait", "0", earlier, "-o", "earlier.out"); err != nil {
		return p, 0, err
	}
	if p, err = b.run(ctx, folder, "masspay", "check", large); err != nil {
		return p, 0, err
	}
	before := len(gate.seen(0))
	start := time.Now()
	kill, err := b.launch(ctx, folder, "masspay", "run", "--wait", "0", file, "-o", "result.csv")
	if err != nil {
		return p, 0, err
	}
	at, err := gate.await(ctx, before)
	took = at.Sub(start).Seconds()
	b.tell("first request after %.2f s; check of %s rows in %.2f s", took, payout.FormatNumber(many), p.took.Seconds())
	return p, took, errors.Join(err, kill())
}
