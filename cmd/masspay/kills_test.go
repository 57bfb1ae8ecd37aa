package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/batch/result"
	"masspay/gate/gatesim"
)

var (
	crashKills = flag.Int("crash.kills", 0, "how many processes TestKills kills (default 24, fewer with -short)")
	crashSeed  = flag.Uint64("crash.seed", 0, "seed of TestKills (default: the time)")
)

// TestKills runs the real program against a hostile gate that pays every POST,
// and kills it: run and serve, at random moments and right before and after
// commits; stops it in the middle and lets it go on beside another; interrupts
// it. Then it runs to the end, and the world must be as if nothing had been.
func TestKills(t *testing.T) {
	sum := &killed{}
	inNights(t, *crashKills, 24, 8, func(t *testing.T, seed uint64, kills int) {
		killNight(t, rand.New(rand.NewPCG(seed, 0)), kills, sum)
	})
	t.Logf("%v; %s", sum, outcome(t))
}

// inNights plays a number of disasters, so many in each night, several nights at
// once. Without a number it is the default, or a quarter of it with -short.
func inNights(t *testing.T, disasters, otherwise, perNight int, play func(t *testing.T, seed uint64, disasters int)) {
	t.Parallel()
	if disasters <= 0 {
		disasters = otherwise
		if testing.Short() {
			disasters = max(1, otherwise/4)
		}
	}
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	t.Run("nights", func(t *testing.T) {
		limit := make(chan struct{}, 6)
		for i := 0; disasters > 0; i++ {
			n := min(disasters, perNight)
			disasters -= n
			t.Run(fmt.Sprint("night=", i), func(t *testing.T) {
				t.Parallel()
				limit <- struct{}{}
				defer func() { <-limit }()
				play(t, seed+uint64(i), n)
			})
		}
	})
}

// outcome is what a summary may say.
func outcome(t *testing.T) string {
	if t.Failed() {
		return "SOME NIGHTS FAILED"
	}
	return "0 paid twice, 0 lost"
}

// killed sums up.
type killed struct {
	mu                                  sync.Mutex
	nights, random, commits, serves     int
	stops, interrupts, requests, faults int
	cuts                                int
}

func (k *killed) String() string {
	return fmt.Sprintf("%d nights: %d runs killed at a random moment, %d right before or after a commit, %d times serve, %d stopped and continued, %d interrupted; %d requests, %d faults",
		k.nights, k.random, k.commits, k.serves, k.stops, k.interrupts, k.requests, k.faults)
}

func (k *killed) add(what *int, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*what += n
}

func killNight(t *testing.T, rng *rand.Rand, kills int, sum *killed) {
	rates := map[gatesim.Fault]float64{}
	for _, f := range gatesim.Faults {
		if f != gatesim.OtherAmount && f != gatesim.TooMany {
			rates[f] = rng.Float64() * 0.06
		}
	}
	n := newNight(t, 60, gatesim.Config{
		Seed: rng.Uint64(), Rates: rates, OutcomeAfter: 50 * time.Millisecond, StatusLag: time.Duration(rng.IntN(800)) * time.Millisecond,
		LateBy: 500 * time.Millisecond, DelayBy: time.Second, HangFor: 3 * time.Second, CallbackGap: 300 * time.Millisecond,
	})
	n.strange = true
	const rows = 80
	n.file("payouts.csv", rows)
	serve := n.serving()
	defer func() { serve.kill() }()
	steps, stops := rows+60, 2 // the first run loads the file as well
	for left := kills; left > 0; left-- {
		switch rng.IntN(7) {
		case 0, 1:
			n.killRun(time.Duration(rng.IntN(900)) * time.Millisecond)
			sum.add(&sum.random, 1)
		case 2, 3, 4:
			if n.dieAtStep(1 + rng.IntN(steps)) {
				sum.add(&sum.commits, 1)
			} else {
				left++ // it had ended before
			}
			steps = 20
		case 5:
			serve.kill()
			sum.add(&sum.serves, 1)
			serve = n.serving()
		case 6: // these kill no process
			left++
			if stops--; stops < 0 {
				continue
			}
			n.stopAndContinue(rng)
			sum.add(&sum.stops, 1)
			n.interrupt(time.Duration(100+rng.IntN(500)) * time.Millisecond)
			sum.add(&sum.interrupts, 1)
		}
		require.Contains(t, []int{0, 3, 4}, n.masspay("status"))
	}
	n.runToTheEnd()
	n.check("payouts.csv", "result.csv")
	st := n.sim.Stats()
	sum.add(&sum.nights, 1)
	sum.add(&sum.requests, st.Requests)
	for _, k := range st.Faults {
		sum.add(&sum.faults, k)
	}
}

// runToTheEnd runs until everything is paid, or only checks are left.
func (n *night) runToTheEnd() {
	for try := 0; n.masspay("run", "payouts.csv", "-o", "result.csv", "--wait", "20s") != exitDone && !n.onlyChecks("result.csv"); try++ {
		require.Less(n.t, try, 10, "%s", n.said.String())
	}
}

// onlyChecks reports whether no row of a result is open: what the gate has told of
// second payments and strange words is left for a person.
func (n *night) onlyChecks(output string) bool {
	text, err := os.ReadFile(filepath.Join(n.folder, output))
	return err == nil && !strings.Contains(string(text), ";"+result.StateOpen+";")
}

// killRun kills a run after a while, if it has not ended by then.
func (n *night) killRun(after time.Duration) {
	cmd := n.command("run", "payouts.csv", "-o", "result.csv")
	require.NoError(n.t, cmd.Start())
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	require.Contains(n.t, []int{exitDone, exitNotAllPaid, exitOpen}, n.masspay("status"), "beside it")
	_ = cmd.Wait()
}

// dieAtStep lets a run kill itself at a step; false when it ended before that.
func (n *night) dieAtStep(step int) bool {
	cmd := exec.CommandContext(n.t.Context(), "masspay-mortal", "run", "payouts.csv", "-o", "result.csv", "--wait", "1s")
	cmd.Dir, cmd.Stderr = n.folder, &n.said
	cmd.Env = append(os.Environ(), fmt.Sprint("TEST_DIES_AT_STEP=", step))
	_ = cmd.Run()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signaled() && status.Signal() == syscall.SIGKILL
}

// stopAndContinue suspends a run with claims in its hands for longer than the
// quiet period, while another works on the same file.
func (n *night) stopAndContinue(rng *rand.Rand) {
	cmd := n.command("run", "payouts.csv", "-o", "stopped.csv", "--wait", "1s")
	require.NoError(n.t, cmd.Start())
	pause(time.Duration(rng.IntN(400)) * time.Millisecond)
	require.NoError(n.t, cmd.Process.Signal(syscall.SIGSTOP))
	other := n.command("run", "payouts.csv", "-o", "other.csv", "--wait", "3s")
	require.NoError(n.t, other.Start())
	pause(4 * time.Second)
	require.NoError(n.t, cmd.Process.Signal(syscall.SIGCONT))
	_ = other.Wait()
	_ = cmd.Wait()
}

// interrupt is Ctrl-C after a while.
func (n *night) interrupt(after time.Duration) {
	cmd := n.command("run", "payouts.csv", "-o", "result.csv", "--wait", "2s")
	require.NoError(n.t, cmd.Start())
	pause(after)
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	require.Contains(n.t, []int{exitDone, exitOpen, exitInterrupted, exitConfig}, cmd.ProcessState.ExitCode())
}

// pause lets another process work for a while: there is nothing to wait for.
func pause(d time.Duration) { <-time.After(d) }

// serving is a serve process.
type serving struct {
	cmd  *exec.Cmd
	once sync.Once
}

func (s *serving) kill() {
	s.once.Do(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
}

// serving starts serve on a port of its own and tells the simulator of it.
func (n *night) serving() *serving {
	s, ok := n.servingUntil(nil)
	require.True(n.t, ok)
	return s
}

// servingUntil gives up when the channel is closed before serve listens.
func (n *night) servingUntil(out <-chan struct{}) (*serving, bool) {
	log := filepath.Join(n.folder, "serve.log")
	f, err := os.Create(log)
	require.NoError(n.t, err)
	defer func() { require.NoError(n.t, f.Close()) }()
	cmd := n.command("serve")
	cmd.Stderr = f
	require.NoError(n.t, cmd.Start())
	s := &serving{cmd: cmd}
	n.t.Cleanup(s.kill)
	for end := time.After(20 * time.Second); ; {
		text, err := os.ReadFile(log)
		require.NoError(n.t, err)
		if _, after, ok := strings.Cut(string(text), `"listen":"`); ok && strings.Contains(after, "\n") {
			address, _, _ := strings.Cut(after, `"`)
			n.sim.SetCallback("http://" + address + "/callbacks")
			return s, true
		}
		select {
		case <-out:
			s.kill()
			return s, false
		case <-end:
			require.Fail(n.t, "serve does not listen", "%s", text)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
