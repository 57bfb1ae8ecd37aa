package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// thisProcess is what the kernel says of this process; proc(5).
func thisProcess() process {
	host, _ := os.Hostname()
	p := process{host: host, pid: int64(os.Getpid()), gone: gone}
	if text, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		p.boot = strings.TrimSpace(string(text))
	}
	if space, err := os.Readlink("/proc/self/ns/pid"); err == nil {
		p.space = space
	}
	p.started, _ = startOf(p.pid)
	return p
}

// startOf is when a process of this machine was started, in ticks of the kernel.
func startOf(pid int64) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name is in parentheses and may hold anything; 22 is behind it.
	_, rest, ok := strings.Cut(string(text[max(0, strings.LastIndex(string(text), ")")):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, errors.New("no start time")
	}
	return strconv.ParseInt(fields[19], 10, 64)
}

// gone reports whether a process of this machine and space surely does not run any more.
func gone(p process) bool {
	started, err := startOf(p.pid)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Where processes of others are hidden, theirs look gone, too.
		return errors.Is(unix.Kill(int(p.pid), 0), unix.ESRCH)
	case err != nil:
		return false
	}
	return started != p.started
}

// sinceBoot is a clock that cannot be set and counts the time that the machine sleeps.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(processStart)
	}
	return time.Duration(ts.Nano())
}

var processStart = time.Now()
