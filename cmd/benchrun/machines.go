package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"masspay/payout"
	"masspay/store/postgres/pgtest"
)

// machines measures a store in a database that many machines share. The gate, the database
// and all processes are on this machine.
func (b *bench) machines(ctx context.Context, rows, many int, over time.Duration) error {
	c, err := pgtest.Start(os.TempDir())
	if err != nil {
		return fmt.Errorf("no PostgreSQL: %w", err)
	}
	defer c.Remove()
	fresh := func(name, gate string, rate, burst int) (string, error) {
		if err := c.Run("createdb", "-h", c.Socket, "-U", "masspay", name); err != nil {
			return "", err
		}
		return b.storeIn(ctx, "machines-"+name, "url: "+c.URL(name), gate, rate, burst)
	}
	for _, part := range []func() error{
		func() error { return b.besideAFile(ctx, fresh, rows) },
		func() error { return b.largeThere(ctx, fresh, many) },
		func() error { return b.callbacksThere(ctx, fresh, rows/3) },
		func() error { return b.slowGate(ctx, fresh) },
		func() error {
			gate, stop, err := watch(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = stop() }()
			folder, err := fresh("pace", gate.base, 300, 1)
			if err != nil {
				return err
			}
			return b.paceIn(ctx, folder, gate, 300, 3, over)
		},
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

type makeStore func(name, gate string, rate, burst int) (folder string, err error)

// besideAFile holds a whole run on a database against the same on a file, in pairs.
func (b *bench) besideAFile(ctx context.Context, fresh makeStore, rows int) error {
	file := filepath.Join(b.folder, "beside.csv")
	if err := writeFile(file, 0, rows); err != nil {
		return err
	}
	var ratio, speed []float64
	for n := range b.runs {
		there, err := fresh(fmt.Sprint("beside", n), b.gate, 100_000, 1000)
		if err != nil {
			return err
		}
		here, err := b.storeAt(ctx, fmt.Sprint("beside", n), b.gate, 100_000, 1000)
		if err != nil {
			return err
		}
		var took [2]time.Duration
		for i, folder := range []string{there, here} {
			p, err := b.run(ctx, folder, "masspay", "run", "--wait", "0", file, "-o", "result.csv")
			if err != nil {
				return err
			}
			took[i] = p.took
		}
		b.tell("run of %d rows: %v on a database, %v on a file", rows, took[0], took[1])
		ratio, speed = append(ratio, took[1].Seconds()/took[0].Seconds()), append(speed, float64(rows)/took[0].Seconds())
	}
	size := payout.FormatNumber(rows)
	b.add("run --wait 0 of "+size+" rows on a database, rows/s", "%.0f", speed)
	b.add("the same on a database over on a file, speed", "%.2f", ratio)
	return nil
}

// largeThere loads a large file and looks at it.
func (b *bench) largeThere(ctx context.Context, fresh makeStore, rows int) error {
	file := filepath.Join(b.folder, "large-there.csv")
	if err := writeFile(file, 0, rows); err != nil {
		return err
	}
	size := payout.FormatNumber(rows)
	folder, err := fresh("large", b.gate, 100_000, 1000)
	if err != nil {
		return err
	}
	loaded, err := b.runOpen(ctx, folder, "masspay", "run", "--detach", file)
	if err != nil {
		return err
	}
	b.add("check and load of "+size+" rows into a database, rows/s", "%.0f", []float64{float64(rows) / loaded.took.Seconds()})
	b.add("the same, peak MiB", "%.0f", []float64{float64(loaded.memory) / mebibyte})
	var status []float64
	for range b.runs {
		p, err := b.runOpen(ctx, folder, "masspay", "status", "large-there.csv")
		if err != nil {
			return err
		}
		status = append(status, p.took.Seconds()*1e3)
	}
	b.add("status on "+size+" rows in a database, ms", "%.0f", status)
	return nil
}

// runOpen runs a command that may end with outcomes missing.
func (b *bench) runOpen(ctx context.Context, folder, program string, args ...string) (process, error) {
	p, err := b.run(ctx, folder, program, args...)
	var code interface{ ExitCode() int }
	if errors.As(err, &code) && code.ExitCode() == stillOpen {
		err = nil
	}
	return p, err
}

func (b *bench) callbacksThere(ctx context.Context, fresh makeStore, rows int) error {
	accepted, other := filepath.Join(b.folder, "accepted-there.csv"), filepath.Join(b.folder, "other-there.csv")
	total := rows * b.runs
	if err := errors.Join(writeFile(accepted, 0, total), writeFile(other, total, rows)); err != nil {
		return err
	}
	folder, err := fresh("callbacks", b.gate, 100_000, 1000)
	if err != nil {
		return err
	}
	return b.callbacksIn(ctx, folder, accepted, other, rows)
}

// slowLatency is how long the slow gate takes, and slowRows what is sent to it.
const (
	slowLatency = 300 * time.Millisecond
	slowRows    = 1_600
)

// slowGate holds three processes with 16 workers each, on a gate that takes its time,
// against one.
func (b *bench) slowGate(ctx context.Context, fresh makeStore) error {
	gate, stop, err := watch(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stop() }()
	gate.latency = slowLatency
	var took [2]float64
	for i, processes := range []int{1, 3} {
		folder, err := fresh(fmt.Sprint("slow", processes), gate.base, 1_000, 16)
		if err != nil {
			return err
		}
		file := filepath.Join(folder, "slow.csv")
		if err := writeFile(file, (i+1)*slowRows, slowRows); err != nil {
			return err
		}
		before := len(gate.seen(0))
		for n := range processes {
			stop, _, err := b.start(ctx, folder, "batch", "masspay", "run", "--workers", "16", "--wait", "0", file, "-o", fmt.Sprintf("result-%d.csv", n))
			if err != nil {
				return err
			}
			defer func() { _ = stop() }()
		}
		// From the first hundred on, until the last hundred: all of them are there by then.
		if _, err := gate.await(ctx, before+slowRows-100); err != nil {
			return err
		}
		seen := gate.seen(before)
		took[i] = seen[slowRows-101].Sub(seen[100]).Seconds()
	}
	b.add(fmt.Sprintf("three processes over one, 16 workers each, a gate that takes %v: speed", slowLatency), "%.2f", []float64{took[0] / took[1]})
	return nil
}
