package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"masspay/batch/payfile"
	"masspay/payout"
	"masspay/store"
)

// The exit codes. exitCodes says what they mean; they never change meaning.
const (
	exitDone        = 0
	exitUnexpected  = 1
	exitNotAllPaid  = 3
	exitOpen        = 4
	exitFile        = 10
	exitBusy        = 11
	exitConfig      = 12
	exitHeld        = 13
	exitInterrupted = 130
)

// exitCodes are what man pages and docs/reference/exit-codes.md say of them. Where several hold,
// the first of 130, 1, 12, 4, 3, 0 is returned.
var exitCodes = []struct {
	code           int
	meaning, money string
}{
	{exitDone, "everything asked for is done and paid, or accepted where no wait was asked for", "as in the result"},
	{exitUnexpected, "something unexpected; standard error says what", "as in the result; safe to run again"},
	{exitNotAllPaid, "done, and some rows were not paid", "the others were paid"},
	{exitOpen, "done, and some rows are open or were not sent, or a person must check", "open is perhaps paid; what was not sent is sent by running again"},
	{exitFile, "the file has problems", "nothing was sent"},
	{exitBusy, "the store is busy, or its database cannot be reached, before the first claim", "nothing was sent by this run"},
	{exitConfig, "configuration, usage, missing or wrong store or key, the gate refuses the project, or the address is no gate's", "the last lines say how many rows are in doubt, and how many were not sent"},
	{exitHeld, "not to be sent now: the file is not released, the batch is paused or was stopped by a breaker, or it is outside the hours", "nothing was sent by this run"},
	{exitInterrupted, "interrupted", "as in the result; safe to run again"},
}

// failure is an error that a command ends with: what to say, what to do about
// it, and the exit code.
type failure struct {
	code  int
	err   error
	hint  string
	lines []string // one for each problem
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failf makes a failure.
func failf(code int, hint, format string, args ...any) error {
	return &failure{code: code, hint: hint, err: fmt.Errorf(format, args...)}
}

// ended is a command that did its work and has an exit code to say how.
type ended struct{ code int }

func (e *ended) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// explain turns any error into a failure: the one place where errors of the
// packages meet exit codes and hints.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var file *payfile.FileError
	if errors.As(err, &file) {
		return &failure{code: exitFile, err: err, lines: problemLines(file),
			hint: "fix the problems listed above and run the same command again; masspay check FILE shows the problems without sending anything"}
	}
	var system *store.FileSystemError
	var database *store.DatabaseError
	var configured *store.ConfigError
	var busy *store.BusyError
	var conflict *store.ConflictError
	var retry *store.RetryError
	switch {
	case errors.As(err, &conflict), errors.As(err, &retry), errors.Is(err, store.ErrDuplicateID):
		return &failure{code: exitFile, err: fmt.Errorf("%w: another process brought it a moment ago; nothing was sent", err),
			hint: "masspay check FILE shows both sides of it"}
	case errors.As(err, &configured):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent", err), hint: configured.Hint}
	case errors.As(err, &database):
		return &failure{code: exitBusy, err: fmt.Errorf("%w; nothing was sent by this run", err),
			hint: "see whether the database of store.url runs and can be reached from here, then the same command again; what was sent is remembered there"}
	case errors.As(err, &system):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent", err),
			hint: "move store.path to a local disk (ext4, xfs, btrfs, zfs, ...); only if you know that locks and syncs hold there, for all machines that see it: store.filesystem: any"}
	case errors.Is(err, store.ErrRestored):
		return &failure{code: exitConfig, err: fmt.Errorf("%w, or its disk has failed before: the lost store may have sent what this one believes unsent; nothing was sent", err),
			hint: "masspay run FILE --ask-first asks the gate about each payout before sending it, and so for every file until all that the lost store may have sent was asked about (docs/how-to/backup.md)"}
	case errors.Is(err, store.ErrNoMarker):
		return &failure{code: exitConfig, err: fmt.Errorf("%w, so it is not known whether the store is a restored copy; nothing was sent", err),
			hint: "masspay run FILE --ask-first asks the gate about each payout before sending it; if the marker is on a disk that is not mounted, mount it first"}
	case errors.Is(err, store.ErrLocks):
		return &failure{code: exitConfig, err: fmt.Errorf("%w: they were removed, or the store is there under a second name whose processes use others; nothing was sent", err),
			hint: "stop every masspay that uses the store under another name, then masspay init, which gives it new lock files"}
	case errors.Is(err, store.ErrMoved):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent", err),
			hint: "use the configuration with the store.url that it was moved to; this file is only kept to look at"}
	case errors.Is(err, store.ErrOlder):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent", err),
			hint: "stop every masspay that uses the store, keep a copy of it, then masspay init, which brings it to this masspay's format"}
	case errors.Is(err, store.ErrFenced):
		return &failure{code: exitUnexpected, err: fmt.Errorf("%w; nothing more was sent by this run", err),
			hint: "run the same command again; nothing is sent twice"}
	case errors.Is(err, store.ErrMissing):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent", err),
			hint: "if this is the first run, masspay init makes a store; if not, is the disk mounted?"}
	case errors.Is(err, store.ErrKey):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent", err),
			hint: "put back the key file that this store was made with (store.key_file)"}
	case errors.Is(err, store.ErrNewer):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent", err),
			hint: "install the masspay that wrote it, or a newer one"}
	case errors.Is(err, store.ErrDamaged):
		return &failure{code: exitUnexpected, err: fmt.Errorf("%w; nothing was sent by this run", err),
			hint: "do not delete the store: it remembers what was paid; restore the newest backup and run with --ask-first"}
	case errors.Is(err, store.ErrNoBatch):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was changed or sent", err),
			hint: "masspay status lists the batches"}
	case errors.As(err, &busy):
		return &failure{code: exitBusy, err: fmt.Errorf("%w; nothing was sent by this run", err),
			hint: "run the same command again; a process that is suspended goes on with kill -CONT and its number, one that hangs is ended with kill -9, which is as safe as any crash"}
	case errors.Is(err, store.ErrBusy):
		return &failure{code: exitBusy, err: fmt.Errorf("%w: other masspay processes kept it for over 10 seconds; nothing was sent by this run", err),
			hint: "run the same command again"}
	case errors.Is(err, payfile.ErrChanged):
		return &failure{code: exitFile, err: fmt.Errorf("%w: it is still being written; nothing was sent", err),
			hint: "wait until the file is complete, then run the same command again"}
	case errors.Is(err, syscall.ENOSPC):
		return &failure{code: exitUnexpected, err: fmt.Errorf("%w: the disk is full; nothing was sent by this run", err),
			hint: "free some space and run the same command again; what was sent is remembered"}
	case errors.Is(err, syscall.EIO):
		return &failure{code: exitUnexpected, err: fmt.Errorf("%w: the disk fails; nothing was sent by this run", err),
			hint: "look after the disk, then masspay doctor, then the same command with --ask-first: what the disk should have kept may be lost"}
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent by this run", err),
			hint: "check the owner and the mode of the file and its folder (the store, its lock files and the result are written by the user that runs masspay)"}
	case errors.Is(err, syscall.EADDRINUSE):
		return &failure{code: exitConfig, err: err,
			hint: "another process listens there: stop it, or change callbacks.listen or admin.listen"}
	case errors.Is(err, syscall.EISDIR):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent", err), hint: "name a file, not a folder"}
	case errors.Is(err, fs.ErrNotExist):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; nothing was sent", err), hint: "check the name and the folder"}
	case errors.Is(err, fs.ErrExist):
		return &failure{code: exitConfig, err: fmt.Errorf("%w; the file was not overwritten", err), hint: "choose another name"}
	case errors.Is(err, context.Canceled):
		return &failure{code: exitInterrupted, err: errors.New("interrupted before anything was sent"),
			hint: "run the same command again; it goes on where it stopped"}
	}
	return &failure{code: exitUnexpected, err: fmt.Errorf("%w; nothing was sent by this run", err),
		hint: "run the same command again; what was sent is remembered"}
}

// outcomeCode is the exit code of a batch as it is. With accepted, rows
// that the gate has accepted count as done.
func outcomeCode(b store.Batch, accepted bool) int {
	code := exitDone
	for _, c := range b.Counts {
		switch {
		case c.Check > 0, c.Stuck > 0:
			return exitOpen
		case c.State == payout.StateAccepted && accepted:
		case c.State.Open():
			return exitOpen
		case c.State != payout.StatePaid:
			code = exitNotAllPaid
		}
	}
	if b.Skipped > 0 {
		code = exitNotAllPaid
	}
	return code
}

// print tells a person what went wrong: the message, and a command that works.
func (f *failure) print(w world) {
	a := &app{w: w}
	a.say("masspay: %s", oneLine(f.err.Error()))
	for _, l := range f.lines {
		a.say("%s", l)
	}
	if f.hint != "" {
		a.say("hint: %s", f.hint)
	}
}

func problemLines(e *payfile.FileError) []string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, w := range e.Warnings {
		lines = append(lines, "warning: "+w.String())
	}
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	shown := 0
	for _, p := range e.Problems {
		shown += p.Rows()
	}
	if more := e.Count - shown; more > 0 {
		lines = append(lines, "... and "+payout.FormatNumber(more)+" more")
	}
	return lines
}

// oneLine joins the lines of an error, and says none of them twice.
func oneLine(s string) string {
	var lines []string
	for l := range strings.Lines(s) {
		if l = strings.Join(strings.Fields(l), " "); l != "" && !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "; ")
}
