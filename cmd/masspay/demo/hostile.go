package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"masspay/gate/gatesim"
	"masspay/payout"
)

const hostileSettings = `  rate: 40
  timeout: 2s
  status_after: 500ms
  quiet_period: 4s
`

// hostileRows are paid in one night, and so often the program is killed.
const (
	hostileRows  = 200
	hostileKills = 6
)

// hostileGate is a gate that does everything wrong that a gate can, and pays
// every request that it accepts. What is late with it is late by less than the
// quiet period.
func hostileGate(seed uint64) gatesim.Config {
	rates := gatesim.Hostile()
	for _, f := range []gatesim.Fault{
		gatesim.CutUnread, gatesim.CutBefore, gatesim.CutAfter, gatesim.HangBefore, gatesim.HangAfter, gatesim.Late,
		gatesim.Error500, gatesim.Accept500, gatesim.TooMany, gatesim.HTML, gatesim.Garbage, gatesim.Redirect,
	} {
		rates[f] = 0.02
	}
	rates[gatesim.Never] = 0.10
	delete(rates, gatesim.Exists) // a gate that pays everything never says that an id exists
	return gatesim.Config{
		Seed: seed, Rates: rates, PayEvery: true, OutcomeAfter: 400 * time.Millisecond, StatusLag: 300 * time.Millisecond,
		HangFor: 3 * time.Second, LateBy: time.Second, DelayBy: 2 * time.Second, CallbackGap: 500 * time.Millisecond,
	}
}

// hostileFile is a file of which most rows are paid in the end.
func hostileFile(rng *rand.Rand) []byte {
	var b strings.Builder
	b.WriteString("operation_type;general.project_id;method;general.payment_id;payment.amount;payment.currency;account.number;account.bank_code;customer.id;customer.ip_address;customer.first_name;customer.last_name;customer.email\n")
	for i := range hostileRows {
		suffix := 20 + rng.IntN(80)
		if rng.IntN(10) == 0 {
			suffix = []int{1, 2, 3, 4, 5, 6, 8, 9, 12}[rng.IntN(9)] // what becomes of it is another story
		}
		_, _ = fmt.Fprintf(&b, "payout;1234;sbp-p2p;night-%03d;%d;KGS;9965551234%02d;mbank;c-%03d;198.51.100.7;Aibek;Asanov;aibek@example.com\n", i+1, 10_000+rng.IntN(90_000), suffix, i+1)
	}
	return []byte(b.String())
}

// Hostile pays a file through a hostile gate with a program that is killed
// again and again, and lets the simulator judge.
func (o Demo) Hostile(ctx context.Context, seed uint64) error {
	if seed == 0 {
		seed = rand.Uint64N(1_000_000) + 1 //nolint:gosec // to be read and typed
	}
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // reproducible, not secret
	gate := hostileGate(seed)
	d, end, err := o.stage(hostileFile(rng), hostileSettings, gate)
	if err != nil {
		return err
	}
	defer end()
	o.Say("masspay demo --hostile --seed %d: %d payouts; no money moves\n", seed, hostileRows)
	o.Say("The gate misbehaves in %d ways, and pays every request that reaches it: a second\nrequest for a payout would be a second payment. This program is killed %d times.\n", len(gate.Rates), hostileKills)
	h := &hostileNight{demo: d, rng: rng, seed: seed, begun: time.Now()}
	if err := h.play(ctx); err != nil {
		return d.leave(ctx, err)
	}
	return d.leave(ctx, h.judge(ctx))
}

// hostileNight is one performance.
type hostileNight struct {
	*demo
	rng   *rand.Rand
	seed  uint64
	begun time.Time
	serve *exec.Cmd
	kills int
}

// tell is one line of the story.
func (h *hostileNight) tell(what string) {
	st := h.sim.Stats()
	h.Say("%5.1f s  %4s requests, %4s accepted   %s", time.Since(h.begun).Seconds(),
		payout.FormatNumber(st.Requests), payout.FormatNumber(st.Payouts), what)
}

// ping asks the gate until it has once answered as a gate does. This one misbehaves
// from the beginning.
func (h *hostileNight) ping(ctx context.Context) error {
	const patience = 50
	for try := 1; ; try++ {
		err := h.quietly(ctx, "ping")
		if err == nil || try == patience || ctx.Err() != nil {
			return err
		}
	}
}

func (h *hostileNight) play(ctx context.Context) error {
	if err := h.quietly(ctx, "init"); err != nil {
		return err
	}
	if err := h.ping(ctx); err != nil {
		return err
	}
	if err := h.quietly(ctx, "check", "payouts.csv"); err != nil {
		return err
	}
	if err := h.startServing(ctx); err != nil {
		return err
	}
	defer func() { h.stopServing() }()
	for h.kills < hostileKills && ctx.Err() == nil {
		if err := h.killOne(ctx); err != nil {
			return err
		}
	}
	for try := 1; ctx.Err() == nil; try++ {
		h.tell("masspay run, to the end")
		err := h.quietly(ctx, "run", "payouts.csv", "-o", "result.csv", "--wait", "15s")
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || h.Ends[exit.ExitCode()] == "") {
			return err
		}
		if !h.anyOpen() {
			break
		}
		if try == 10 {
			return errors.New("the night does not end: some payouts stay open")
		}
	}
	return ctx.Err()
}

// killOne is one disaster.
func (h *hostileNight) killOne(ctx context.Context) error {
	switch h.kills {
	case 2:
		h.kills++
		h.stopServing()
		h.tell("kill -9: masspay serve; the gate repeats what was not answered")
		return h.startServing(ctx)
	case 3:
		h.kills++
		return h.suspend(ctx)
	}
	run, err := h.start(ctx)
	if err != nil {
		return err
	}
	h.tell("masspay run")
	h.let(ctx, time.Duration(300+h.rng.IntN(1_200))*time.Millisecond)
	h.kills++
	_ = run.Process.Kill()
	_ = run.Wait()
	h.tell("kill -9: masspay run, in the middle")
	return nil
}

// suspend stops a run with claims in its hands for longer than the quiet
// period, while another works; then the first one wakes up.
func (h *hostileNight) suspend(ctx context.Context) error {
	first, err := h.start(ctx)
	if err != nil {
		return err
	}
	h.let(ctx, 700*time.Millisecond)
	_ = first.Process.Signal(syscall.SIGSTOP)
	h.tell("masspay run, suspended in the middle; another one goes on")
	second, err := h.start(ctx)
	if err == nil {
		h.let(ctx, 6*time.Second)
		_ = second.Process.Kill()
		_ = second.Wait()
	}
	_ = first.Process.Signal(syscall.SIGCONT)
	h.tell("kill -9: the other one; the first one wakes up")
	h.let(ctx, time.Second)
	_ = first.Process.Kill()
	_ = first.Wait()
	return err
}

func (h *hostileNight) start(ctx context.Context) (*exec.Cmd, error) {
	cmd := h.command(ctx, "run", "payouts.csv", "-o", "result.csv", "--wait", "15s")
	return cmd, cmd.Start()
}

// let waits for a while, as people do before they pull a plug.
func (h *hostileNight) let(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// quietly runs a command whose output is not part of the story, unless it fails.
func (h *hostileNight) quietly(ctx context.Context, args ...string) error {
	cmd := h.command(ctx, args...)
	var said strings.Builder
	cmd.Stderr = &said
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && h.Ends[exit.ExitCode()] == "" {
		h.Say("%s", said.String())
	}
	return err
}

func (h *hostileNight) startServing(ctx context.Context) (err error) {
	h.serve, _, err = h.startServe(ctx)
	return err
}

func (h *hostileNight) stopServing() {
	if h.serve != nil {
		_ = h.serve.Process.Kill()
		_ = h.serve.Wait()
	}
}

func (h *hostileNight) anyOpen() bool {
	j, err := h.judged("payouts.csv")
	return err != nil || j.Open > 0
}

// judge ends the story with the ledger beside the result.
func (h *hostileNight) judge(ctx context.Context) error {
	h.tell("done")
	j, err := h.judged("payouts.csv")
	if err != nil {
		return err
	}
	st := h.sim.Stats()
	injected := 0
	for _, n := range st.Faults {
		injected += n
	}
	h.Say("\nThe gate injected %s:", payout.FormatQuantity(injected, "fault"))
	for names := range slices.Chunk(gatesim.Faults, 6) {
		line := " "
		for _, f := range names {
			if st.Faults[f] > 0 {
				line += fmt.Sprintf(" %s %d", f, st.Faults[f])
			}
		}
		h.Say("%s", line)
	}
	h.Say("\nThe gate's ledger beside the result:")
	h.Say("  %-34s %8s", "rows of the file", payout.FormatNumber(j.Rows))
	h.Say("  %-34s %8s", "requests that reached the gate", payout.FormatNumber(st.Requests))
	h.Say("  %-34s %8s", "payouts that the gate accepted", payout.FormatNumber(st.Payouts))
	h.Say("  %-34s %8s", "rows whose money arrived", payout.FormatNumber(j.Paid))
	h.Say("  %-34s %8s", "rows left open", payout.FormatNumber(j.Open))
	h.Say("  %-34s %8s", "paid twice", payout.FormatNumber(j.Twice))
	h.Say("  %-34s %8s", "lost, or told wrongly", payout.FormatNumber(j.Lost))
	for _, f := range j.Faults {
		h.Say("  %s", f)
	}
	if err := h.step(ctx, "doctor"); err != nil {
		return err
	}
	if !h.temporary {
		h.Say("\nresult: %s", filepath.Join(h.folder, "result.csv"))
	}
	if !j.OK() || j.Open > 0 || st.OtherBody > 0 {
		return &FaultError{Hint: fmt.Sprintf("masspay demo --hostile --seed %d plays it again; please report it", h.seed)}
	}
	h.Say("Nothing was paid twice, nothing was lost.")
	return nil
}
