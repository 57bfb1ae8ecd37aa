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

// roomForFile makes room for what a check keeps of a file's rows, or a very large one would
// have the collector run without end: of a row 24 bytes of ids, and more where
// look-alikes and limits are looked for; in its file a row has some 130. Beside them a check needs
// little, and is not faster with more (measured with 72 to 192 MiB on 1,000,000 rows).
func roomForFile(size, more int64) {
	const least, besides = 96 << 20, 48 << 20
	limitMemory(max(least, besides+size/128*(24+more)))
}

func limitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}
