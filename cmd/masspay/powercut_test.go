//go:build linux

package main

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
	"masspay/store/storetest/forgetful"
)

var crashCuts = flag.Int("crash.cuts", 0, "how often TestPowerCuts cuts the power (default 12, fewer with -short)")

// TestPowerCuts runs the real program with its store on a disk that forgets
// what was not fsynced, in any order, and cuts the power at random operations
// of that disk, from the making of the store on.
func TestPowerCuts(t *testing.T) {
	sum := &killed{}
	inNights(t, *crashCuts, 12, 6, func(t *testing.T, seed uint64, cuts int) { cutNight(t, seed, cuts, sum) })
	t.Logf("%d nights, %d power cuts; %d requests, %d faults; %s", sum.nights, sum.cuts, sum.requests, sum.faults, outcome(t))
}

func cutNight(t *testing.T, seed uint64, cuts int, sum *killed) {
	rng := rand.New(rand.NewPCG(seed, 1))
	d := forgetful.Mount(t, seed)
	rates := map[gatesim.Fault]float64{}
	for _, f := range gatesim.Faults {
		if f != gatesim.OtherAmount && f != gatesim.TooMany {
			rates[f] = rng.Float64() * 0.04
		}
	}
	n := newNightOn(t, filepath.Join(d.Path(), "masspay.db"), 60, gatesim.Config{
		Seed: rng.Uint64(), Rates: rates, OutcomeAfter: 50 * time.Millisecond, StatusLag: time.Duration(rng.IntN(800)) * time.Millisecond,
		LateBy: 500 * time.Millisecond, DelayBy: time.Second, HangFor: 3 * time.Second, CallbackGap: 300 * time.Millisecond,
	})
	n.strange = true
	n.file("payouts.csv", 60)
	forgot := func() {
		sum.add(&sum.cuts, 1)
		n.tell("power cut: forgot %s", d.Restart())
		cuts--
	}
	if rng.IntN(2) == 0 {
		d.CutAfter(1 + rng.IntN(25))
	}
	for try := 0; n.masspay("init") != 0 || n.masspay("ping") != 0; try++ { // the gate misbehaves, too
		select {
		case <-d.Out():
			forgot()
		default:
			require.Less(t, try, 50, "%s", n.said.String())
		}
	}
	for cuts > 0 {
		d.CutAfter(1 + rng.IntN(250))
		serve := n.command("serve")
		if rng.IntN(2) == 0 {
			s, ok := n.servingUntil(d.Out())
			if !ok {
				forgot()
				continue
			}
			serve = s.cmd
		}
		run := n.command("run", "payouts.csv", "-o", "result.csv", "--wait", "2s")
		require.NoError(t, run.Start())
		ended := make(chan struct{})
		go func() {
			_ = run.Wait()
			close(ended)
		}()
		select {
		case <-d.Out():
			_ = run.Process.Kill()
			<-ended
		case <-ended:
		}
		if serve.Process != nil {
			_ = serve.Process.Kill()
			_ = serve.Wait()
		}
		select {
		case <-d.Out():
			forgot()
		default: // it had ended before
		}
	}
	d.CutAfter(0)
	n.runToTheEnd()
	n.check("payouts.csv", "result.csv")
	st := n.sim.Stats()
	sum.add(&sum.nights, 1)
	sum.add(&sum.requests, st.Requests)
	for _, k := range st.Faults {
		sum.add(&sum.faults, k)
	}
}
