//go:build !linux

package postgres

import (
	"os"
	"time"
)

// thisProcess says nothing that another process could look up: it is fenced by silence
// alone.
func thisProcess() process {
	host, _ := os.Hostname()
	return process{host: host, pid: int64(os.Getpid())}
}

// sinceBoot is a clock that cannot be set. Whether it counts the time that a machine
// sleeps depends on the system.
func sinceBoot() time.Duration { return time.Since(processStart) }

var processStart = time.Now()
