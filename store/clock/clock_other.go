//go:build !linux

package clock

import "time"

// monotonic and bootID: ticks of one process only.
func monotonic() time.Duration { return 0 }

func bootID() uint64 { return ownID() }

// machineBoot and machineID are not known here.
func machineBoot() uint64 { return 0 }

func machineID() uint64 { return 0 }
