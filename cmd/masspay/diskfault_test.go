//go:build linux

package main

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
	"masspay/store/storetest/forgetful"
)

var crashFaults = flag.Int("crash.faults", 0, "how many disk faults TestDiskFaults tries (default 12, fewer with -short)")

// TestDiskFaults lets the store's disk fail at any of its operations: full,
// read-only, a write or an fsync that reports an I/O error and forgets what it
// should have kept; sometimes the power goes afterwards. A run that cannot write
// says what did not happen to the money, and when the disk is well again the
// next one goes on; if the store is past help, masspay says so, and the backup
// with --ask-first leads to the end.
func TestDiskFaults(t *testing.T) {
	var mu sync.Mutex
	met, helped := map[string]int{}, 0
	inNights(t, *crashFaults, 12, 1, func(t *testing.T, seed uint64, _ int) {
		what, backup := faultNight(t, seed)
		mu.Lock()
		defer mu.Unlock()
		met[what]++
		if backup {
			helped++
		}
	})
	t.Logf("disk faults %v, %d stores put back from the backup; %s", met, helped, outcome(t))
}

func faultNight(t *testing.T, seed uint64) (what string, backup bool) {
	rng := rand.New(rand.NewPCG(seed, 2))
	d := forgetful.Mount(t, seed)
	n := newNightOn(t, filepath.Join(d.Path(), "masspay.db"), 60, gatesim.Config{
		Seed: rng.Uint64(), OutcomeAfter: 50 * time.Millisecond, StatusLag: 100 * time.Millisecond,
		Rates: map[gatesim.Fault]float64{gatesim.CutAfter: 0.05, gatesim.CutBefore: 0.05},
	})
	n.file("payouts.csv", 30)
	require.Equal(t, 0, n.masspay("init"))
	require.Equal(t, 0, n.masspay("ping"))
	n.pings = n.sim.Stats().Requests
	require.Equal(t, 0, n.masspay("backup", "last-week.db"))
	kinds := []struct {
		what  string
		op    forgetful.Op
		errno syscall.Errno
		lasts bool
	}{
		{"disk full", forgetful.Write, syscall.ENOSPC, true},
		{"read-only", forgetful.Write, syscall.EROFS, true},
		{"no more names", forgetful.Name, syscall.ENOSPC, true},
		{"write fails once", forgetful.Write, syscall.EIO, false},
		{"fsync fails once", forgetful.Sync, syscall.EIO, false},
		{"fsync fails", forgetful.Sync, syscall.EIO, true},
	}
	k := kinds[rng.IntN(len(kinds))]
	// While the file is loaded, or while payouts are claimed and answered.
	at, seen, sending := 1+rng.IntN(30), 0, rng.IntN(2) == 0
	if sending {
		at = 1 + rng.IntN(12)
	}
	forgot := false // the store's file, without another word
	d.Fail(func(op forgetful.Op, name string) syscall.Errno {
		if op != k.op || sending && n.requests() == 0 || filepath.Ext(name) == ".rate" && rng.IntN(2) == 0 {
			return 0
		}
		if seen++; seen == at || seen > at && k.lasts {
			forgot = forgot || k.errno == syscall.EIO && name == "masspay.db"
			return k.errno
		}
		return 0
	})
	before := n.said.String()
	code := n.masspay("run", "payouts.csv", "-o", "result.csv", "--wait", "2s")
	said := n.said.String()[len(before):]
	n.tell("%s at operation %d: exit code %d", k.what, at, code)
	if code != exitDone && code != exitOpen {
		require.Regexp(t, "nothing was sent|this run has sent|was not written", said, "what became of the money")
		require.Contains(t, said, "hint: ")
	}
	d.Fail(nil)
	if rng.IntN(2) == 0 {
		n.tell("power cut: forgot %s", d.Restart())
		k.what += ", power cut"
	}
	if forgot && !strings.Contains(k.what, "power cut") {
		require.Equal(t, exitConfig, n.masspay("run", "payouts.csv", "-o", "result.csv"), "the disk has forgotten something, no one knows what")
		require.Contains(t, n.said.String(), "its disk has failed before")
	}
	args := []string{"run", "payouts.csv", "-o", "result.csv", "--wait", "20s"}
	for try := 0; ; try++ {
		require.Less(t, try, 10, "%s", n.said.String())
		before := len(n.said.String())
		code := n.masspay(args...)
		require.Zero(t, n.sim.Stats().Doubles, "paid twice")
		if code == exitDone {
			break
		}
		if code == exitOpen || backup {
			continue
		}
		said := n.said.String()[before:]
		if len(args) == 6 && strings.Contains(said, "restored copy") {
			args = append(args, "--ask-first") // the disk has failed to keep something
			continue
		}
		// Past help, as the message says: the backup, and its marker stays.
		require.Regexp(t, "damaged|marker of the store is missing", said)
		copied, err := os.ReadFile(filepath.Join(n.folder, "last-week.db"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(n.store, copied, 0o600))
		if _, err := os.Stat(n.store + ".marker"); err != nil {
			require.Equal(t, 0, n.masspay("init", "--trust-store"))
		}
		args = append(args[:6], "--ask-first")
		backup = true
	}
	n.check("payouts.csv", "result.csv")
	return k.what, backup
}
