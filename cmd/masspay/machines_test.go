package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
	"masspay/store/postgres/pgtest"
)

var machineNights = flag.Int("machines.nights", 0, "how many nights TestMachines plays (default 2, fewer with -short)")

// newMachinesNight is a night whose store is a database of its own, in a cluster of its own.
func newMachinesNight(t *testing.T, rate int, cfg gatesim.Config) *night {
	t.Helper()
	c, err := pgtest.Start(pgtest.Memory())
	if err != nil {
		pgtest.Missing(t, err)
	}
	t.Cleanup(c.Remove)
	n := newNightOn(t, "masspay.db", rate, cfg)
	n.cluster = c
	n.useDatabase(c)
	require.Equal(t, 0, n.masspay("init"))
	for try := 0; n.masspay("ping") != 0; try++ { // the gate misbehaves from the beginning
		require.Less(t, try, 50)
	}
	n.pings = n.sim.Stats().Requests
	return n
}

// useDatabase writes the address of a database into the configuration.
func (n *night) useDatabase(c *pgtest.Cluster) {
	file := filepath.Join(n.folder, "masspay.yaml")
	text, err := os.ReadFile(file)
	require.NoError(n.t, err)
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "  path: masspay.db"), strings.HasPrefix(line, "  url: "):
			lines[i] = "  url: " + c.URL("postgres")
		case strings.HasPrefix(line, "  filesystem: "):
			lines[i] = ""
		}
	}
	require.NoError(n.t, os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600))
}

// Three machines on one file, as three processes: each sends its share, and each ends with
// the whole result.
func TestThreeMachinesOnOneFile(t *testing.T) {
	t.Parallel()
	n := newMachinesNight(t, 200, gatesim.Config{OutcomeAfter: 20 * time.Millisecond, StatusLag: 100 * time.Millisecond})
	n.file("payouts.csv", 150)
	codes := make(chan int, 3)
	for i := range 3 {
		go func() { codes <- n.masspay("run", "payouts.csv", "-o", fmt.Sprint("result", i, ".csv")) }()
	}
	for range 3 {
		require.Equal(t, 0, <-codes)
	}
	for i := range 3 {
		n.check("payouts.csv", fmt.Sprint("result", i, ".csv"))
	}
}

// TestMachines lets three processes, and serve, share one database, against a hostile gate
// that pays every POST: they are killed at random moments and right before and after
// commits, and suspended; the database is stopped without a word. Then one runs to the
// end, and the world must be as if nothing had been.
func TestMachines(t *testing.T) {
	nights := *machineNights
	if nights <= 0 {
		nights = 2
		if testing.Short() {
			nights = 1
		}
	}
	t.Parallel()
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	limit := make(chan struct{}, 3)
	t.Run("nights", func(t *testing.T) {
		for i := range nights {
			t.Run(fmt.Sprint("night=", i), func(t *testing.T) {
				t.Parallel()
				limit <- struct{}{}
				defer func() { <-limit }()
				machinesNight(t, rand.New(rand.NewPCG(seed+uint64(i), 0)))
			})
		}
	})
}

func machinesNight(t *testing.T, rng *rand.Rand) {
	rates := map[gatesim.Fault]float64{}
	for _, f := range gatesim.Faults {
		if f != gatesim.OtherAmount && f != gatesim.TooMany {
			rates[f] = rng.Float64() * 0.06
		}
	}
	n := newMachinesNight(t, 60, gatesim.Config{
		Seed: rng.Uint64(), Rates: rates, OutcomeAfter: 50 * time.Millisecond, StatusLag: time.Duration(rng.IntN(800)) * time.Millisecond,
		LateBy: 500 * time.Millisecond, DelayBy: time.Second, HangFor: 3 * time.Second, CallbackGap: 300 * time.Millisecond,
	})
	n.strange = true
	const rows = 80
	n.file("payouts.csv", rows)
	serve := n.serving()
	defer func() { serve.kill() }()
	for range 6 {
		others := n.machines(2, rng)
		switch rng.IntN(6) {
		case 0:
			n.killRun(time.Duration(rng.IntN(900)) * time.Millisecond)
		case 1, 2:
			n.dieAtStep(1 + rng.IntN(rows))
		case 3:
			n.suspend(rng)
		case 4:
			pause(time.Duration(rng.IntN(500)) * time.Millisecond)
			n.tell("the database is stopped")
			require.NoError(t, n.cluster.Down("immediate"))
			pause(time.Duration(rng.IntN(1500)) * time.Millisecond)
			require.NoError(t, n.cluster.Up())
		case 5:
			serve.kill()
			serve = n.serving()
		}
		for _, other := range others {
			if rng.IntN(2) == 0 {
				_ = other.Process.Kill()
			}
			_ = other.Wait()
		}
	}
	n.runToTheEnd()
	n.check("payouts.csv", "result.csv")
}

// machines are runs of the same file.
func (n *night) machines(count int, rng *rand.Rand) (all []*exec.Cmd) {
	for i := range count {
		cmd := n.command("run", "payouts.csv", "-o", fmt.Sprint("other", i, ".csv"), "--wait", "1s")
		require.NoError(n.t, cmd.Start())
		all = append(all, cmd)
		pause(time.Duration(rng.IntN(100)) * time.Millisecond)
	}
	return all
}

// suspend stops a run with claims in its hands, and lets it go on.
func (n *night) suspend(rng *rand.Rand) {
	cmd := n.command("run", "payouts.csv", "-o", "stopped.csv", "--wait", "1s")
	require.NoError(n.t, cmd.Start())
	pause(time.Duration(rng.IntN(400)) * time.Millisecond)
	require.NoError(n.t, cmd.Process.Signal(syscall.SIGSTOP))
	pause(time.Duration(1+rng.IntN(3)) * time.Second)
	require.NoError(n.t, cmd.Process.Signal(syscall.SIGCONT))
	_ = cmd.Wait()
}

// The database goes away in the middle of a run: it waits, keeps what it heard, and goes on.
func TestADatabaseThatIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	n := newMachinesNight(t, 40, gatesim.Config{OutcomeAfter: 20 * time.Millisecond})
	n.file("payouts.csv", 80)
	cmd := n.command("run", "payouts.csv", "-o", "result.csv", "--wait", "30s")
	require.NoError(t, cmd.Start())
	n.after(10)
	require.NoError(t, n.cluster.Down("immediate"))
	pause(3 * time.Second)
	require.NoError(t, n.cluster.Up())
	require.NoError(t, cmd.Wait(), "%s", n.said.String())
	n.check("payouts.csv", "result.csv")
}

// A database that is not there before anything was claimed.
func TestADatabaseThatIsNotThere(t *testing.T) {
	t.Parallel()
	n := newMachinesNight(t, 40, gatesim.Config{})
	n.file("payouts.csv", 3)
	require.NoError(t, n.cluster.Down("fast"))
	require.Equal(t, exitBusy, n.masspay("run", "payouts.csv", "-o", "result.csv"))
	require.Contains(t, n.said.String(), "the database cannot be reached")
	require.Contains(t, n.said.String(), "nothing was sent by this run")
	require.Zero(t, n.requests())
}

// Three machines that work, one run that only loads, and disasters: a machine is killed,
// the database stopped, River's jobs thrown away, its queues paused. What is left finishes the batch.
func TestWorkers(t *testing.T) {
	t.Parallel()
	n := newMachinesNight(t, 40, gatesim.Config{
		OutcomeAfter: 50 * time.Millisecond, StatusLag: 200 * time.Millisecond, Rates: map[gatesim.Fault]float64{gatesim.CutAfter: 0.03, gatesim.CutBefore: 0.03},
	})
	n.file("payouts.csv", 120)
	serve := n.serving()
	defer func() { serve.kill() }()
	var workers []*exec.Cmd
	work := func() {
		cmd := n.command("work")
		require.NoError(t, cmd.Start())
		workers = append(workers, cmd)
	}
	for range 3 {
		work()
	}
	require.Equal(t, exitOpen, n.masspay("run", "payouts.csv", "--detach"))
	n.after(20)
	said, err := n.command("status").Output()
	require.NoError(t, err)
	require.Contains(t, string(said), fmt.Sprintf("process %d,", serve.cmd.Process.Pid), "serve is listed among the processes")
	require.NoError(t, workers[0].Process.Kill())
	_ = workers[0].Wait()
	n.after(40)
	require.NoError(t, n.cluster.Down("immediate"))
	pause(time.Second)
	require.NoError(t, n.cluster.Up())
	n.after(60)
	sql := func(statement string) {
		require.NoError(t, n.cluster.Run("psql", "-h", n.cluster.Socket, "-U", "masspay", "-c", statement, "postgres"))
	}
	sql("truncate river.river_job")
	sql("update river.river_queue set paused_at = now()")
	pause(3 * time.Second) // the workers look every two
	sql("update river.river_queue set paused_at = null")
	work() // it looks at once for batches that have no turns
	code := n.masspay("status", "--watch", "payouts.csv")
	for tries := 0; code == exitBusy && tries < 10; tries++ {
		code = n.masspay("status", "--watch", "payouts.csv")
	}
	for _, w := range workers[1:] {
		require.NoError(t, w.Process.Signal(syscall.SIGTERM))
	}
	for _, w := range workers[1:] {
		require.NoError(t, w.Wait(), "it drains, and ends well")
	}
	require.Equal(t, exitDone, code, "%s", n.said.String())
	require.Equal(t, exitDone, n.masspay("report", "payouts.csv", "-o", "result.csv"))
	n.check("payouts.csv", "result.csv")
}

// What one machine sends needs no database, and what many need says so.
func TestOneMachineHasNoWorkers(t *testing.T) {
	t.Parallel()
	n := newNight(t, 40, gatesim.Config{})
	n.file("payouts.csv", 3)
	require.Equal(t, exitConfig, n.masspay("work"))
	require.Equal(t, exitConfig, n.masspay("run", "payouts.csv", "--detach"))
	require.Contains(t, n.said.String(), "store.url")
	require.Zero(t, n.requests())
}
