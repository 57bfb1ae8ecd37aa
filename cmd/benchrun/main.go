// Command benchrun measures whole masspay processes, side by side with vegeta, a
// raw load generator that checks, stores and signs nothing: both send to the same
// bare gate, in turn, so that a machine that is slow at the moment is slow for
// both. It prints one table; every figure is the median of its runs.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"masspay/payout"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "benchrun:", err)
		os.Exit(1)
	}
}

// bench is where the programs are, and what was measured.
type bench struct {
	bin      string // gatesim and vegeta, and masspay
	masspay  string // the one that is measured: of two sides, each in turn
	side     int
	vegeta   string
	folder   string
	runs     int
	gate     string // base URL of the bare gate
	log      io.Writer
	measured *measured
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	fl := flag.NewFlagSet("benchrun", flag.ContinueOnError)
	fl.SetOutput(log)
	bin := fl.String("bin", "bin", "folder of masspay, gatesim and vegeta")
	before := fl.String("before", "", "folder of an older masspay: each measurement is made with it and with the other in turn, -runs times")
	runs := fl.Int("runs", 5, "runs of each measurement")
	rows := fl.Int("rows", 60_000, "rows of the run that is held against vegeta")
	many := fl.Int("many", 1_000_000, "rows of the large file")
	over := fl.Duration("over", time.Minute, "how long pacing and waiting are looked at")
	only := fl.String("only", "", "one measurement: vegeta, callbacks, pacing, waiting, killed, controls, pages, machines (needs PostgreSQL) or large")
	if err := fl.Parse(args); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "masspay-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	at, err := filepath.Abs(*bin)
	if err != nil {
		return err
	}
	b := &bench{bin: at, vegeta: filepath.Join(at, "vegeta"), folder: folder, runs: *runs, log: log, measured: &measured{}}
	sides, rounds := []string{at}, 1
	if *before != "" {
		older, err := filepath.Abs(*before)
		if err != nil {
			return err
		}
		sides, rounds, b.runs = []string{older, at}, *runs, 1
	}
	stop, err := b.startGate(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stop() }()
	for _, m := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"vegeta", func(ctx context.Context) error { return b.againstVegeta(ctx, *rows) }},
		{"callbacks", func(ctx context.Context) error { return b.callbacks(ctx, *rows/3) }},
		{"pacing", func(ctx context.Context) error { return b.pacing(ctx, *over) }},
		{"waiting", func(ctx context.Context) error { return b.waiting(ctx, *many/10, *over) }},
		{"killed", func(ctx context.Context) error { return b.killed(ctx, *many) }},
		{"controls", func(ctx context.Context) error { return b.controls(ctx, *many/10, *many) }},
		{"pages", func(ctx context.Context) error { return b.pages(ctx, 4*(*rows), *many) }},
		{"machines", func(ctx context.Context) error { return b.machines(ctx, *rows, *many, *over) }},
		{"large", func(ctx context.Context) error { return b.large(ctx, *many) }},
	} {
		if *only != "" && *only != m.name {
			continue
		}
		for round := range rounds {
			if err := b.inTurn(ctx, sides, round, m.do); err != nil {
				return err
			}
		}
	}
	b.measured.render(out, len(sides) > 1)
	return nil
}

// inTurn makes a measurement with one masspay after the other, in empty folders; in each
// other round the other one begins.
func (b *bench) inTurn(ctx context.Context, sides []string, round int, measure func(context.Context) error) error {
	whole := b.folder
	defer func() { b.folder = whole }()
	for n := range sides {
		side := (n + round) % len(sides)
		folder, err := os.MkdirTemp(whole, "side-")
		if err != nil {
			return err
		}
		b.folder, b.side, b.masspay = folder, side, filepath.Join(sides[side], "masspay")
		if err := errors.Join(measure(ctx), os.RemoveAll(folder)); err != nil {
			return err
		}
	}
	return nil
}

// program is where a program is.
func (b *bench) program(name string) string {
	if name == "masspay" {
		return b.masspay
	}
	return filepath.Join(b.bin, name)
}

// add keeps figures of what is measured.
func (b *bench) add(what, format string, figures []float64) {
	b.measured.add(b.side, what, format, figures)
}

func (b *bench) tell(format string, args ...any) { _, _ = fmt.Fprintf(b.log, format+"\n", args...) }

// startGate starts the gate that answers at once and remembers nothing.
func (b *bench) startGate(ctx context.Context) (stop func() error, err error) {
	stop, line, err := b.start(ctx, b.folder, "API on ", "gatesim", "-bare", "-project", "1234=secret", "-listen", "127.0.0.1:0", "-manage", "127.0.0.1:0")
	_, b.gate, _ = strings.Cut(line, "API on ")
	return stop, err
}

// start starts a program and returns the first line of its messages that has a
// word in it. It runs until it is stopped.
func (b *bench) start(ctx context.Context, folder, word, program string, args ...string) (stop func() error, line string, err error) {
	c := exec.CommandContext(ctx, b.program(program), args...) //nolint:gosec // our own programs
	c.Dir = folder
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	out, in, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	c.Stdout, c.Stderr = in, in
	err = c.Start()
	_ = in.Close()
	if err != nil {
		return nil, "", errors.Join(err, out.Close())
	}
	stop = sync.OnceValue(func() error {
		_ = c.Cancel()
		return errors.Join(c.Wait(), out.Close())
	})
	said := bufio.NewScanner(out)
	for said.Scan() {
		if strings.Contains(said.Text(), word) {
			line := said.Text()
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return stop, line, nil
		}
	}
	return nil, "", fmt.Errorf("%s %s did not say %q: %w", program, strings.Join(args, " "), word, stop())
}

// launch starts a program and does not listen to it; kill ends it as kill -9 does.
func (b *bench) launch(ctx context.Context, folder, program string, args ...string) (kill func() error, err error) {
	c := exec.CommandContext(ctx, b.program(program), args...) //nolint:gosec // our own programs
	c.Dir = folder
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() error {
		err := c.Process.Kill()
		_ = c.Wait() // it was killed
		return err
	}, nil
}

// process is how a program ended.
type process struct {
	took   time.Duration
	cpu    time.Duration
	memory int64 // peak, bytes
}

func (b *bench) run(ctx context.Context, folder, program string, args ...string) (process, error) {
	c := exec.CommandContext(ctx, b.program(program), args...) //nolint:gosec // our own programs
	c.Dir = folder
	var said bytes.Buffer
	c.Stderr = &said
	start := time.Now()
	err := c.Run()
	p := process{took: time.Since(start)}
	if c.ProcessState != nil {
		p.cpu = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
		if use, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
			p.memory = use.Maxrss << 10
		}
	}
	if err != nil {
		return p, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, said.Bytes())
	}
	return p, nil
}

// store makes a folder with a configuration and an empty store, for the bare gate.
func (b *bench) store(ctx context.Context, name string) (string, error) {
	return b.storeAt(ctx, name, b.gate, 100_000, 1000)
}

func (b *bench) storeAt(ctx context.Context, name, gate string, rate, burst int) (string, error) {
	return b.storeIn(ctx, name, "path: masspay.db", gate, rate, burst)
}

// storeIn makes a store where a line of the configuration says.
func (b *bench) storeIn(ctx context.Context, name, at, gate string, rate, burst int) (string, error) {
	folder := filepath.Join(b.folder, name)
	text := fmt.Sprintf(`gate:
  base_url: %s
  rate: %d
  burst: %d
  workers: 64
projects:
  - id: 1234
    secret_file: secret
store:
  %s
  key_file: store.key
callbacks:
  listen: 127.0.0.1:0
`, gate, rate, burst, at)
	err := errors.Join(
		os.MkdirAll(folder, 0o700),
		os.WriteFile(filepath.Join(folder, "masspay.yaml"), []byte(text), 0o600),
		os.WriteFile(filepath.Join(folder, "secret"), []byte("secret"), 0o600),
	)
	if err != nil {
		return "", err
	}
	_, err = b.run(ctx, folder, "masspay", "init")
	return folder, err
}

// againstVegeta holds a whole run against vegeta, in turn.
func (b *bench) againstVegeta(ctx context.Context, rows int) error {
	file, targets := filepath.Join(b.folder, "pair.csv"), filepath.Join(b.folder, "targets.json")
	if err := errors.Join(writeFile(file, 0, rows), writeTargets(targets, b.gate, rows)); err != nil {
		return err
	}
	var ours, theirs, ratio, cpu []float64
	for n := range b.runs {
		folder, err := b.store(ctx, fmt.Sprint("pair", n))
		if err != nil {
			return err
		}
		a, err := b.attack(ctx, targets, "-duration=4s")
		if err == nil && a.Codes["200"] != a.Requests {
			err = fmt.Errorf("vegeta: not every request succeeded: %v", a.Codes)
		}
		if err != nil {
			return err
		}
		p, err := b.run(ctx, folder, "masspay", "run", "--wait", "0", file, "-o", "result.csv")
		if err != nil {
			return err
		}
		m, v := float64(rows)/p.took.Seconds(), a.Throughput
		b.tell("run %d: masspay %.0f/s, vegeta %.0f/s, ratio %.2f", n+1, m, v, m/v)
		ours, theirs, ratio = append(ours, m), append(theirs, v), append(ratio, m/v)
		cpu = append(cpu, p.cpu.Seconds()*1e6/float64(rows))
		_ = os.RemoveAll(folder)
	}
	b.add("vegeta, 64 connections, requests/s", "%.0f", theirs)
	b.add(fmt.Sprintf("run --wait 0 of %s rows, 64 connections, rows/s", payout.FormatNumber(rows)), "%.0f", ours)
	b.add("the same, microseconds of CPU a row", "%.1f", cpu)
	b.add("run over vegeta, pair by pair", "%.2f", ratio)
	return nil
}

// attack is what vegeta reports.
type attack struct {
	Requests   int            `json:"requests"`
	Throughput float64        `json:"throughput"`
	Codes      map[string]int `json:"status_codes"`
	Latencies  struct {
		P99 time.Duration `json:"99th"`
	} `json:"latencies"`
}

// attack has vegeta send requests that were written beforehand, over 64 connections.
func (b *bench) attack(ctx context.Context, targets string, args ...string) (attack, error) {
	result := filepath.Join(b.folder, "vegeta.bin")
	args = append([]string{"attack", "-format=json", "-targets=" + targets, "-rate=0", "-max-workers=64", "-workers=64", "-connections=64", "-output=" + result}, args...)
	if _, err := b.run(ctx, b.folder, "vegeta", args...); err != nil {
		return attack{}, err
	}
	c := exec.CommandContext(ctx, b.vegeta, "report", "-type=json", result) //nolint:gosec // built by the Makefile
	text, err := c.Output()
	if err != nil {
		return attack{}, err
	}
	var a attack
	return a, json.Unmarshal(text, &a)
}
