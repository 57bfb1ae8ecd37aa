package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/batch/payfile"
	"masspay/payout"
	"masspay/store"
)

var explained = []struct {
	err  error
	code int
	want string
}{
	{&payfile.FileError{Name: "f.csv", Count: 1}, exitFile, "nothing was sent"},
	{store.ErrRestored, exitConfig, "nothing was sent"},
	{store.ErrDuplicateID, exitFile, "nothing was sent"},
	{&store.ConflictError{}, exitFile, "nothing was sent"},
	{store.ErrNoMarker, exitConfig, "nothing was sent"},
	{store.ErrLocks, exitConfig, "nothing was sent"},
	{store.ErrOlder, exitConfig, "nothing was sent"},
	{store.ErrFenced, exitUnexpected, "nothing more was sent by this run"},
	{&store.BusyError{Path: "masspay.db", Holder: "process 7 (masspay run)"}, exitBusy, "held by process 7 (masspay run); nothing was sent by this run"},
	{store.ErrMissing, exitConfig, "nothing was sent"},
	{store.ErrKey, exitConfig, "nothing was sent"},
	{store.ErrNewer, exitConfig, "nothing was sent"},
	{store.ErrDamaged, exitUnexpected, "damaged; nothing was sent by this run"},
	{store.ErrNoBatch, exitConfig, "no such batch"},
	{store.ErrBusy, exitBusy, "nothing was sent by this run"},
	{payfile.ErrChanged, exitFile, "nothing was sent"},
	{syscall.ENOSPC, exitUnexpected, "the disk is full; nothing was sent by this run"},
	{syscall.EROFS, exitConfig, "read-only file system; nothing was sent by this run"},
	{fs.ErrPermission, exitConfig, "permission"},
	{syscall.EADDRINUSE, exitConfig, "address already in use"},
	{&store.FileSystemError{Folder: "/mnt", Kind: "NFS"}, exitConfig, "/mnt is on a file system (NFS) whose locks may not protect a store; nothing was sent"},
	{context.Canceled, exitInterrupted, "interrupted"},
	{syscall.EISDIR, exitConfig, "nothing was sent"},
	{fs.ErrNotExist, exitConfig, "nothing was sent"},
	{fs.ErrExist, exitConfig, "the file was not overwritten"},
	{errors.New("who knows"), exitUnexpected, "who knows"},
}

// Once a request has left, no error says that nothing was sent, whichever it is.
func TestNoErrorDeniesWhatWasSent(t *testing.T) {
	t.Parallel()
	for _, tt := range explained {
		a := &app{}
		a.ran.end.Sent = 3
		f := a.explain(fmt.Errorf("somewhere: %w", tt.err), "run")
		require.NotRegexp(t, "(nothing|anything) (more )?was (changed or )?sent", f.err.Error())
		require.Contains(t, f.err.Error(), "this run has sent 3 requests")
		require.Equal(t, tt.code, f.code)
	}
}

// Every error that a person can meet has an exit code, one sentence and a hint.
func TestExplain(t *testing.T) {
	t.Parallel()
	for _, tt := range explained {
		f := explain(fmt.Errorf("somewhere: %w", tt.err))
		require.Equal(t, tt.code, f.code, tt.err)
		require.Contains(t, f.err.Error(), tt.want)
		require.NotEmpty(t, f.hint, tt.err)
	}
}

// After something may have been sent, no error says that nothing was.
func TestErrorsAfterSending(t *testing.T) {
	t.Parallel()
	for _, err := range []error{store.ErrRestored, store.ErrNoMarker, store.ErrBusy, store.ErrMissing, syscall.ENOSPC, fs.ErrPermission, errors.New("who knows")} {
		f := explain((&app{}).afterSending(err, store.Batch{ID: "abcdef"}, 3))
		require.Equal(t, exitUnexpected, f.code)
		require.NotContains(t, f.err.Error(), "nothing was sent")
		require.Contains(t, f.err.Error(), "this run has sent 3 requests")
	}
}

func TestOutcomeCode(t *testing.T) {
	t.Parallel()
	counts := func(states ...payout.State) store.Batch {
		var b store.Batch
		for _, s := range states {
			b.Counts = append(b.Counts, store.Count{State: s, N: 1})
		}
		return b
	}
	check := counts(payout.StatePaid)
	check.Counts[0].Check = 1
	skipped := counts(payout.StatePaid)
	skipped.Skipped = 1
	for _, tt := range []struct {
		name     string
		b        store.Batch
		accepted bool
		want     int
	}{
		{"paid", counts(payout.StatePaid), false, exitDone},
		{"accepted", counts(payout.StateAccepted), false, exitOpen},
		{"accepted, no wait", counts(payout.StateAccepted), true, exitDone},
		{"unknown, no wait", counts(payout.StateUnknown), true, exitOpen},
		{"new, no wait", counts(payout.StateNew), true, exitOpen},
		{"declined", counts(payout.StatePaid, payout.StateDeclined), false, exitNotAllPaid},
		{"declined and open", counts(payout.StateDeclined, payout.StateUnknown), false, exitOpen},
		{"partly", counts(payout.StatePartial), false, exitNotAllPaid},
		{"returned", counts(payout.StateReturned), false, exitNotAllPaid},
		{"cancelled", counts(payout.StateCancelled), false, exitNotAllPaid},
		{"check", check, false, exitOpen},
		{"skipped", skipped, false, exitNotAllPaid},
	} {
		require.Equal(t, tt.want, outcomeCode(tt.b, tt.accepted), tt.name)
	}
}

// Every test that docs/explanation/reliability.md names is there.
func TestReliabilityNamesRealTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/explanation/reliability.md")
	require.NoError(t, err)
	var source strings.Builder
	require.NoError(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		source.Write(b)
		return err
	}))
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)").FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(names), 30)
	for _, n := range names {
		require.True(t, strings.Contains(source.String(), "func "+n[1]), "docs/explanation/reliability.md names %s", n[1]) // not Contains, which would print all
	}
}
