package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// envProfile names a folder for profiles of one command. It is for engineers,
// and no part of the configuration.
const envProfile = "MASSPAY_PPROF"

// How often the profiles of waiting look: one in so many nanoseconds that
// goroutines were blocked, and one in so many contentions.
const (
	blockEvery = 10_000
	mutexEvery = 10
)

// profile begins to write profiles of the whole command into a folder: cpu, heap
// (allocations since the start), block and mutex, each for go tool pprof. They
// hold names of functions and numbers, no data. stop writes them out.
func profile(folder string) (stop func() error, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("%s: %w", envProfile, err)
	}
	cpu, err := os.Create(filepath.Join(folder, "cpu.pprof")) //nolint:gosec // the folder that was asked for
	if err != nil {
		return nil, fmt.Errorf("%s: %w", envProfile, err)
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", envProfile, err), cpu.Close())
	}
	runtime.SetBlockProfileRate(blockEvery)
	runtime.SetMutexProfileFraction(mutexEvery)
	return func() error {
		pprof.StopCPUProfile()
		errs := []error{cpu.Close()}
		for _, name := range []string{"allocs", "heap", "block", "mutex"} {
			errs = append(errs, writeProfile(folder, name))
		}
		return errors.Join(errs...)
	}, nil
}

func writeProfile(folder, name string) error {
	f, err := os.Create(filepath.Join(folder, name+".pprof")) //nolint:gosec // the folder that was asked for
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close())
}
