// Command masspay pays out CSV files in the Dashboard's mass payment format
// through the Gate API: each row once, with an answer for every row.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"masspay/store"
)

// version is set when a release is built.
var version = "dev"

// world is everything outside the program that a command may touch, apart from
// files and the network.
type world struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	env    []string // as os.Environ
	alone  bool     // this is a process of its own, whose memory is ours to tune

	// through stands between the engine and its store; nil: nothing does. Tests
	// that die at every commit put themselves there.
	through func(store.Store) store.Store
}

func main() { programWith(nil) }

// programWith runs the program with something between the engine and its store.
func programWith(through func(store.Store) store.Store) {
	tuneMemory()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the work in order; a second one ends the process,
	// which is as safe as any crash.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], world{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Environ(), alone: true, through: through}))
}
