package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"masspay/payout"
)

const mebibyte = 1 << 20

// large measures what a large file costs: every command on it, and how the time of
// a run grows from a tenth of it.
func (b *bench) large(ctx context.Context, rows int) error {
	tenth, file := filepath.Join(b.folder, "tenth.csv"), filepath.Join(b.folder, "large.csv")
	if err := errors.Join(writeFile(tenth, 0, rows/10), writeFile(file, 0, rows)); err != nil {
		return err
	}
	small, err := b.store(ctx, "tenth")
	if err != nil {
		return err
	}
	folder, err := b.store(ctx, "large")
	if err != nil {
		return err
	}
	size := payout.FormatNumber(rows)
	if err := b.repeat(ctx, folder, "check of "+size+" rows", rows, "check", file); err != nil {
		return err
	}
	b.tell("run of %s rows", payout.FormatNumber(rows/10))
	short, err := b.run(ctx, small, "masspay", "run", "--wait", "0", tenth, "-o", "result.csv")
	if err != nil {
		return err
	}
	b.tell("run of %s rows", size)
	long, err := b.run(ctx, folder, "masspay", "run", "--wait", "0", file, "-o", "result.csv")
	if err != nil {
		return err
	}
	b.add("run of "+size+" rows over run of "+payout.FormatNumber(rows/10), "%.1f", []float64{long.took.Seconds() / short.took.Seconds()})
	b.add("run of "+size+" rows, peak MiB", "%.0f", []float64{float64(long.memory) / mebibyte})
	if err := b.repeat(ctx, folder, "the same file again, "+size+" rows", rows, "run", "--wait", "0", file, "-o", "result.csv"); err != nil {
		return err
	}
	id, err := b.batch(ctx, folder)
	if err != nil {
		return err
	}
	if err := b.repeat(ctx, folder, "report of "+size+" rows", rows, "report", id, "-o", "result.csv"); err != nil {
		return err
	}
	if err := b.size(folder, "accepted", rows); err != nil {
		return err
	}
	var status []float64
	for range b.runs {
		p, err := b.run(ctx, folder, "masspay", "status")
		if err != nil {
			return err
		}
		status = append(status, p.took.Seconds()*1e3)
	}
	b.add("status on "+size+" rows, ms", "%.0f", status)
	return nil
}

// size measures the store's file.
func (b *bench) size(folder, what string, rows int) error {
	st, err := os.Stat(filepath.Join(folder, "masspay.db"))
	if err == nil {
		b.add("store, bytes a row, "+what, "%.0f", []float64{float64(st.Size()) / float64(rows)})
	}
	return err
}

// repeat measures a command's rows a second and its peak memory.
func (b *bench) repeat(ctx context.Context, folder, what string, rows int, args ...string) error {
	var speed, memory []float64
	for range b.runs {
		p, err := b.run(ctx, folder, "masspay", args...)
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != stillOpen) {
			return err
		}
		speed, memory = append(speed, float64(rows)/p.took.Seconds()), append(memory, float64(p.memory)/mebibyte)
	}
	b.add(what+", rows/s", "%.0f", speed)
	b.add(what+", peak MiB", "%.0f", memory)
	return nil
}

// batch is the id of the only batch of a store.
func (b *bench) batch(ctx context.Context, folder string) (string, error) {
	all, err := b.status(ctx, folder)
	if err != nil || len(all) != 1 {
		return "", errors.Join(err, fmt.Errorf("%d batches, want one", len(all)))
	}
	return all[0].Batch, nil
}

// standing is what masspay status --json says of a batch.
type standing struct {
	Batch  string `json:"batch"`
	States map[string]struct {
		Rows int `json:"rows"`
	} `json:"states"`
}

func (b *bench) status(ctx context.Context, folder string) (all []standing, err error) {
	c := exec.CommandContext(ctx, b.masspay, "status", "--json") //nolint:gosec // our own program
	c.Dir = folder
	text, err := c.Output()
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	return all, err
}
