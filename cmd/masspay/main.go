// Command masspay pays out CSV files in the Dashboard's mass payment format
// through the Gate API: each row once, with an answer for every row.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

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
	hangup *hangup  // what a SIGHUP and a suspension do; nil: that is not for us to say
	alone  bool     // this is a process of its own, whose memory is ours to tune

	// through is between the engine and its store; nil: nothing does. Tests
	// that die at every commit put themselves there.
	through func(store.Store) store.Store
}

func main() { programWith(nil) }

// programWith runs the program with something between the engine and its store.
func programWith(through func(store.Store) store.Store) {
	tuneMemory()
	signal.Ignore(syscall.SIGPIPE) // a reader that left is an error of what it read, and ends nothing else
	hangup := &hangup{}
	ctx := untilSignal(hangup)
	os.Exit(run(ctx, os.Args[1:], world{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Environ(), alone: true, through: through, hangup: hangup,
	}))
}

// sameSignal is how soon after the first one a signal is the same: timeout(1) sends
// two.
const sameSignal = time.Second

// untilSignal is a context that ends with the first signal that ends a process, so that
// the work ends in order. A second one ends the process, which is as safe as any crash.
// A SIGHUP that was ignored at the start, as under nohup, stays ignored.
func untilSignal(h *hangup) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	got := make(chan os.Signal, len(signals)+1)
	if !signal.Ignored(syscall.SIGTSTP) {
		signals = append(signals, syscall.SIGTSTP) // Ctrl-Z
	}
	signal.Notify(got, signals...)
	go func() {
		var first time.Time
		for s := range got {
			switch number, _ := s.(syscall.Signal); {
			case number == syscall.SIGHUP && h.call():
			case number == syscall.SIGTSTP:
				h.suspend()
			case first.IsZero():
				first = time.Now()
				cancel()
			case time.Since(first) >= sameSignal:
				signal.Reset(s)
				_ = syscall.Kill(os.Getpid(), number)
			}
		}
	}()
	return ctx
}

// hangup is what a SIGHUP does instead of ending the process, and what a suspension
// waits for.
type hangup struct {
	do      atomic.Pointer[func()]
	between atomic.Pointer[func(func())]
}

// suspendBetween lets a suspension by Ctrl-Z wait until the store is let go of.
func (h *hangup) suspendBetween(between func(func())) {
	if h != nil {
		h.between.Store(&between)
	}
}

// suspend suspends the process as Ctrl-Z does, without the store's turn: others go on.
func (h *hangup) suspend() {
	// The signal may go to another thread than ours, which then runs on for a while as
	// if nothing was: what follows waits for the end of the suspension itself. A SIGCONT
	// that a further SIGTSTP took back is seen by that one.
	stop := func() {
		over := make(chan os.Signal, 1)
		signal.Notify(over, syscall.SIGCONT, syscall.SIGTSTP)
		defer signal.Stop(over)
		if syscall.Kill(os.Getpid(), syscall.SIGSTOP) == nil {
			<-over
		}
	}
	between := h.between.Load()
	if between == nil {
		go stop()
		return
	}
	// Who is at the store for long, with a backup say, is suspended all the same; and
	// meanwhile other signals are heard.
	go func() {
		free, over := make(chan struct{}), make(chan struct{})
		go (*between)(func() {
			close(free)
			<-over
		})
		select {
		case <-free:
		case <-time.After(patience):
		}
		stop()
		close(over)
	}()
}

// patience is how long a suspension waits for the store to be let go of.
const patience = 2 * time.Second

func (h *hangup) set(do func()) {
	if h != nil {
		h.do.Store(&do)
	}
}

func (h *hangup) call() bool {
	do := h.do.Load()
	if do == nil {
		return false
	}
	(*do)()
	return true
}
