package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// besides is how many payouts a second a run sends while callbacks come in.
const besides = 500

// callbacks measures how many callbacks a second masspay serve takes while a run
// sends from the same store, and what a store takes when every payout has its
// outcome.
func (b *bench) callbacks(ctx context.Context, rows int) error {
	accepted, other := filepath.Join(b.folder, "accepted.csv"), filepath.Join(b.folder, "other.csv")
	total := rows * b.runs
	if err := errors.Join(writeFile(accepted, 0, total), writeFile(other, total, rows)); err != nil {
		return err
	}
	folder, err := b.store(ctx, "callbacks")
	if err != nil {
		return err
	}
	if err := b.callbacksIn(ctx, folder, accepted, other, rows); err != nil {
		return err
	}
	if err := b.paid(ctx, folder, total); err != nil {
		return err
	}
	return b.life(ctx, accepted, total)
}

// callbacksIn measures them with a store that is there.
func (b *bench) callbacksIn(ctx context.Context, folder, accepted, other string, rows int) error {
	if _, err := b.run(ctx, folder, "masspay", "run", "--wait", "0", accepted, "-o", "result.csv"); err != nil {
		return err
	}
	stop, _, err := b.start(ctx, folder, "sending", "masspay", "run", "--rate", strconv.Itoa(besides), "--wait", "0", other, "-o", "other-result.csv")
	if err != nil {
		return err
	}
	defer func() { _ = stop() }()
	var speed, late []float64
	err = b.serving(ctx, folder, func(to string) error {
		for n := range b.runs {
			a, err := b.deliver(ctx, to, n*rows, rows)
			if err != nil {
				return err
			}
			b.tell("callbacks %d: %.0f/s, 99 of 100 within %v", n+1, a.Throughput, a.Latencies.P99)
			speed, late = append(speed, a.Throughput), append(late, a.Latencies.P99.Seconds()*1e3)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("callbacks while a run sends %d/s, 64 connections, callbacks/s", besides), "%.0f", speed)
	b.add("the same, 99th percentile, ms", "%.0f", late)
	return nil
}

// life measures a store whose payouts have all had a normal life.
func (b *bench) life(ctx context.Context, file string, rows int) error {
	folder, err := b.store(ctx, "life")
	if err != nil {
		return err
	}
	if _, err := b.run(ctx, folder, "masspay", "run", "--wait", "0", file, "-o", "result.csv"); err != nil {
		return err
	}
	err = b.serving(ctx, folder, func(to string) error {
		_, err := b.deliver(ctx, to, 0, rows)
		return err
	})
	if err != nil {
		return err
	}
	if err := b.paid(ctx, folder, rows); err != nil {
		return err
	}
	return b.size(folder, "paid", rows)
}

// serving does something while masspay serve takes callbacks.
func (b *bench) serving(ctx context.Context, folder string, do func(to string) error) error {
	stop, line, err := b.start(ctx, folder, "taking callbacks", "masspay", "serve")
	if err != nil {
		return err
	}
	var said struct{ Listen, Path string }
	err = json.Unmarshal([]byte(line), &said)
	if err == nil {
		err = do("http://" + said.Listen + said.Path)
	}
	return errors.Join(err, stop())
}

// deliver posts the callbacks of some payouts, each once.
func (b *bench) deliver(ctx context.Context, to string, first, rows int) (attack, error) {
	targets := filepath.Join(b.folder, "callbacks.json")
	if err := writeCallbacks(targets, to, first, rows); err != nil {
		return attack{}, err
	}
	a, err := b.attack(ctx, targets, "-lazy", "-duration=0") // until there are no more
	if err == nil && a.Codes["200"] != rows {
		err = fmt.Errorf("%d callbacks were posted, and the answers are %v", rows, a.Codes)
	}
	return a, err
}

// slower makes a second configuration of a store, with a lower rate.
func (b *bench) slower(folder string, rate int) (string, error) {
	text, err := os.ReadFile(filepath.Join(folder, "masspay.yaml")) //nolint:gosec // in our own folder
	if err != nil {
		return "", err
	}
	slow := filepath.Join(folder, "slower.yaml")
	text = bytes.Replace(text, []byte("rate: 100000"), []byte(fmt.Sprint("rate: ", rate)), 1)
	return slow, os.WriteFile(slow, text, 0o600)
}

// paid makes sure that every callback that was answered is in the store.
func (b *bench) paid(ctx context.Context, folder string, want int) error {
	all, err := b.status(ctx, folder)
	if err != nil {
		return err
	}
	got := 0
	for _, s := range all {
		got += s.States["paid"].Rows
	}
	if got != want {
		return fmt.Errorf("%d payouts are paid, and %d callbacks said so", got, want)
	}
	return nil
}
