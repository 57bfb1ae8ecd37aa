package clock

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock that the Go runtime measures with, from its beginning.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// bootID is the kernel's name for this boot; proc(5), random/boot_id. Where it
// cannot be read, processes do not compare their ticks.
func bootID() uint64 {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ownID()
	}
	id, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil || len(id) < 8 {
		return ownID()
	}
	// A time namespace has a clock of its own, and the number of one that is gone may
	// be another's: its offsets belong to it; time_namespaces(7).
	space, err := os.Readlink("/proc/self/ns/time")
	if err != nil {
		space = ""
	}
	offsets, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil {
		offsets = nil
	}
	return hash(string(id), space, string(offsets))
}

// machineBoot is the kernel's name for this boot, whatever namespace this is; 0 where
// it cannot be read.
func machineBoot() uint64 {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return 0
	}
	return hash(strings.TrimSpace(string(text)))
}

// machineID is what machine-id(5) says; 0 where it says nothing.
func machineID() uint64 {
	text, err := os.ReadFile("/etc/machine-id")
	id := strings.TrimSpace(string(text))
	if err != nil || len(id) != 32 {
		return 0
	}
	return hash("masspay", id) // the id itself is not to be shown around
}

// hash is never 0.
func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return h.Sum64() | 1
}
