package main

import (
	"os"
	"runtime/debug"
)

// The heap may grow to several times what is in use before it is collected,
// because most commands have little in use, but not beyond what a small machine has
// to spare. GOGC and GOMEMLIMIT win.
const (
	heapGrowth = 400       // percent
	softLimit  = 128 << 20 // bytes
)

func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	limitMemory(softLimit)
}

// roomForFile raises the limit by what the ids of a file take, or a very large
// file would have the collector run without end. A row has 24 bytes of ids and,
// in its file, some 130.
func roomForFile(size int64) { limitMemory(softLimit + size/128*24) }

func limitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}
