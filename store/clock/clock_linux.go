package clock

import (
	"encoding/hex"
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
	// A time namespace has a clock of its own; time_namespaces(7).
	space, err := os.Readlink("/proc/self/ns/time")
	if err != nil {
		space = ""
	}
	h := fnv.New64a()
	_, _ = h.Write(append(id, space...))
	return h.Sum64() | 1
}
