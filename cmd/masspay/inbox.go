package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"masspay/batch/payfile"
	"masspay/store"
)

// inboxConfig is a folder that files are picked up from.
type inboxConfig struct {
	Folder    string        `yaml:"folder"`
	Results   string        `yaml:"results"`
	StableFor time.Duration `yaml:"stable_for"`
}

// Folders in the inbox, for files that are through.
const (
	inboxDone     = "done"
	inboxProblems = "problems"
	inboxLock     = ".masspay-inbox"
	inboxTold     = ".masspay-inbox.told"
)

func (c *inboxConfig) validate() (problems []string) {
	switch {
	case c.Folder == "" && c.Results == "":
	case c.Folder == "" || c.Results == "":
		problems = append(problems, "inbox.folder and inbox.results go together: where files come, and where results go")
	case filepath.Clean(c.Folder) == filepath.Clean(c.Results):
		problems = append(problems, "inbox.results is inbox.folder: a result would be picked up as a file")
	}
	if c.StableFor < 0 || c.StableFor > 0 && c.StableFor < time.Second {
		problems = append(problems, fmt.Sprintf("inbox.stable_for %v: want a time as 2m, or 0: only files with control totals beside them are taken", c.StableFor))
	}
	return problems
}

func (a *app) inboxCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inbox",
		Short: "Pay the files of a folder, one after the other, and move them away",
		Long: `Pay the files that lie in inbox.folder, in the order of their names, each as masspay run would,
and end. Files are *.csv with control totals beside them (FILE.ctl, with sha256, rows or totals),
put there after the file; without, only if inbox.stable_for is set and the file was left alone for
so long: a file that is cut at the end of a row looks whole to anybody.

A file of which all was sent (exit codes 0, 3 and 4) is moved into done/, one with problems into
problems/ with FILE.problems.txt; one that is held, not released or out of hours stays, and one of
which something was not sent yet, and so does every file when the store is busy or something else is
wrong: the next masspay inbox takes it up again. A file that stays for the same reason as before
counts in the exit code once in twelve hours, and one that is left alone, without control totals, after
half an hour. Results go to inbox.results. The name of what is moved or
written has the beginning of the file's SHA-256 in it, so that the same name can come each month.
A file that comes twice is paid once. Run it every few minutes; two at once do no harm.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.inbox(cmd.Context())
		},
	}
}

func (a *app) inbox(ctx context.Context) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	if c.Inbox.Folder == "" {
		return failf(exitConfig, "e.g. inbox: {folder: /srv/masspay/inbox/files, results: /srv/masspay/out}", "inbox.folder is empty, so there is nothing to pick up; nothing was sent")
	}
	one := flock.New(filepath.Join(c.Inbox.Folder, inboxLock))
	free, err := one.TryLock()
	if err != nil {
		return failf(exitConfig, "make the folder, and let this user write into it", "inbox.folder: %s; nothing was sent", oneLine(err.Error()))
	}
	if !free {
		a.say("another masspay inbox is at work on %s; nothing was sent by this one", c.Inbox.Folder)
		return nil
	}
	defer func() { _ = one.Unlock() }()
	if err := c.Inbox.prepare(); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.Inbox.Folder) // in the order of names
	if err != nil {
		return err
	}
	worst, seen, told := exitDone, 0, readTold(c.Inbox.Folder)
	for _, e := range entries {
		file := filepath.Join(c.Inbox.Folder, e.Name())
		if !e.Type().IsRegular() || !strings.EqualFold(filepath.Ext(e.Name()), ".csv") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		seen++
		id, why, err := c.Inbox.whole(file, time.Now())
		if err != nil {
			return err
		}
		if to := c.Inbox.movedBeside(file, id); to != "" {
			if err := a.moveAway(file, to, id); err != nil {
				return err
			}
			continue
		}
		if why != "" {
			a.say("%s: left alone: %s", e.Name(), why)
			if told.leftAlone(id, time.Now()) {
				worst = worse(worst, exitHeld)
			}
			continue
		}
		code, stays, err := a.payFromInbox(ctx, c, file, id)
		if err != nil {
			return err
		}
		if !stays || told.news(id, code, time.Now()) {
			worst = worse(worst, code)
		}
		if code == exitInterrupted || code == exitBusy || code == exitConfig || code == exitUnexpected {
			break // the next file would meet the same
		}
	}
	if seen == 0 {
		a.say("no file is in %s", c.Inbox.Folder)
	}
	if err := told.write(); err != nil {
		return err
	}
	return endWith(worst)
}

// prepare makes the folders for files that are through: whoever may look into the inbox may
// look into them, whatever the umask is.
func (c *inboxConfig) prepare() error {
	of, err := os.Stat(c.Folder)
	if err != nil {
		return err
	}
	for _, name := range []string{inboxDone, inboxProblems} {
		folder := filepath.Join(c.Folder, name)
		err := os.Mkdir(folder, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = os.Chmod(folder, of.Mode().Perm()|of.Mode()&fs.ModeSetgid)
		}
		if errors.Is(err, fs.ErrPermission) { // a hardened unit may make nothing setgid
			err = os.Chmod(folder, of.Mode().Perm())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// codesByWeight are the exit codes, what must be looked at first last.
var codesByWeight = []int{exitDone, exitNotAllPaid, exitOpen, exitHeld, exitFile, exitUnexpected, exitBusy, exitConfig, exitInterrupted}

// worse is the exit code that says more.
func worse(a, b int) int {
	weight := func(code int) int {
		for i, c := range codesByWeight {
			if c == code {
				return i
			}
		}
		return len(codesByWeight)
	}
	if weight(b) > weight(a) {
		return b
	}
	return a
}

// whole says why a file is not taken up yet; id is its SHA-256.
func (c *inboxConfig) whole(file string, now time.Time) (id, why string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", "", err
	}
	if id, err = sumOfFile(file); err != nil {
		return "", "", err
	}
	quiet := now.Sub(info.ModTime())
	s, err := payfile.OpenSidecar(file)
	var bad *payfile.FileError
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.StableFor == 0:
		return id, "no control totals (" + filepath.Base(payfile.SidecarName(file)) + ") are beside it, and inbox.stable_for is 0", nil
	case errors.Is(err, fs.ErrNotExist) && quiet < c.StableFor:
		return id, "it was changed less than " + c.StableFor.String() + " ago (inbox.stable_for)", nil
	case errors.As(err, &bad), errors.Is(err, fs.ErrNotExist):
		return id, "", nil // a run says what is wrong with it
	case err != nil:
		return "", "", err
	case s.ID == id:
		return id, "", nil // surely whole
	case quiet < max(c.StableFor, time.Minute):
		return id, "it was changed less than a minute ago, and its control totals have no SHA-256 of it", nil
	}
	return id, "", nil
}

// stemOf is what a file is called when it is through, without its extension.
func stemOf(file, id string) string {
	name := filepath.Base(file)
	return strings.TrimSuffix(name, filepath.Ext(name)) + "." + id[:12]
}

// movedTo is where a file is then, in a folder.
func movedTo(folder, file, id string) string {
	return filepath.Join(folder, stemOf(file, id)+filepath.Ext(file))
}

// movedBeside is the folder that the control totals of a file were moved to, where the file itself
// was not, because that was cut off; empty: nothing was.
func (c *inboxConfig) movedBeside(file, id string) (folder string) {
	there := func(path string) bool { _, err := os.Lstat(path); return err == nil }
	for _, name := range []string{inboxDone, inboxProblems} {
		folder := filepath.Join(c.Folder, name)
		moved := movedTo(folder, file, id)
		if there(payfile.SidecarName(moved)) && !there(moved) && !there(payfile.SidecarName(file)) {
			return folder
		}
	}
	return ""
}

// sumOfFile is a file's SHA-256.
func sumOfFile(file string) (string, error) {
	f, err := os.Open(file) //nolint:gosec // of the configured folder
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// payFromInbox pays a file by a masspay run of its own, and moves it away if it is through. Of one
// that stays the reason is no failure, and is the exit code.
func (a *app) payFromInbox(ctx context.Context, c *config, file, id string) (code int, stays bool, err error) {
	name, stem := filepath.Base(file), stemOf(file, id)
	a.say("%s:", name)
	var said bytes.Buffer
	code, err = a.runOf(ctx, &said, "run", file, "-o", filepath.Join(c.Inbox.Results, stem+".result.csv"), "--yes")
	if err != nil {
		return 0, false, err
	}
	// Dangerous to do without: a file that came under the name meanwhile would be put away unpaid.
	if is, err := sumOfFile(file); err != nil || is != id {
		a.say("%s: another file has come under its name since: that one stays, and the next masspay inbox takes it up", name)
		return code, false, err
	}
	switch code {
	case exitDone, exitNotAllPaid:
		return code, false, a.moveAway(file, filepath.Join(c.Inbox.Folder, inboxDone), id)
	case exitOpen:
		// Dangerous to do without: what could not be sent would be sent by no one any more.
		unsent, err := a.unsentOf(ctx, c, file, id)
		if err != nil {
			return code, true, err
		}
		if unsent > 0 {
			a.say("%s: stays, as %s of it not sent yet: the next masspay inbox goes on with it", name, count(unsent, "payout"))
			return code, true, nil
		}
		return code, false, a.moveAway(file, filepath.Join(c.Inbox.Folder, inboxDone), id)
	case exitFile:
		to := filepath.Join(c.Inbox.Folder, inboxProblems)
		if err := renameio.WriteFile(filepath.Join(to, stem+".problems.txt"), problemsText(said.Bytes(), name), 0o640, renameio.WithStaticPermissions(0o640)); err != nil {
			return 0, false, err
		}
		return code, false, a.moveAway(file, to, id)
	case exitHeld:
		return code, true, nil
	}
	return code, false, nil
}

// problemsText is for whoever has brought a file: what is wrong with it, without the hints for whoever
// types commands, which speak of where it was.
func problemsText(said []byte, name string) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(said) {
		if !bytes.HasPrefix(line, []byte("hint: ")) {
			b.Write(line)
		}
	}
	fmt.Fprintf(&b, "\nNothing of %s was sent. Have it corrected, and put it into the inbox again, with new control totals.\n", name)
	return b.Bytes()
}

// unsentOf is how many payouts of a file's batch wait to be sent.
func (a *app) unsentOf(ctx context.Context, c *config, file, id string) (int, error) {
	s, err := c.openStore(ctx, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	b, err := s.Batch(ctx, id)
	if errors.Is(err, store.ErrNoBatch) {
		b, err = a.batch(ctx, s, file) // another file brought the same content
	}
	return b.Unsent(), err
}

// runOf runs masspay itself, which hears of an interruption as this process does; what it says
// is said here, and kept.
func (a *app) runOf(ctx context.Context, said io.Writer, args ...string) (code int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	if a.configFlag != "" {
		args = append(args, "--config", a.configFlag)
	}
	cmd := exec.CommandContext(ctx, self, args...) //nolint:gosec // masspay itself
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr, cmd.Env = a.w.stderr, io.MultiWriter(a.w.stderr, said), a.w.env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it waits for the answers to what it has sent
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitDone, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	case ctx.Err() != nil:
		return exitInterrupted, nil //nolint:nilerr // that says it
	}
	return 0, err
}

// moveAway moves a file with what lies beside it: control totals, and approvals. The file goes
// last: where that is cut off, it is still there, and movedBeside knows of it.
func (a *app) moveAway(file, to, id string) error {
	name, moved := filepath.Base(file), movedTo(to, file, id)
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return err
	}
	beside := []string{}
	for _, e := range entries {
		rest, is := strings.CutPrefix(e.Name(), name+".")
		if is && e.Type().IsRegular() && (rest == "ctl" || strings.HasSuffix(rest, approvalSuffix) || strings.HasSuffix(rest, approvalSuffix+signatureSuffix)) {
			beside = append(beside, "."+rest)
		}
	}
	for _, rest := range append(beside, "") {
		if err := os.Rename(file+rest, moved+rest); err != nil {
			return fmt.Errorf("%s was run, and cannot be moved away: %w; the next masspay inbox tries again, and pays nothing twice", name, err)
		}
	}
	a.say("%s: moved to %s/", name, filepath.Base(to))
	if filepath.Base(to) == inboxProblems {
		a.say("hint: masspay check %s", shellWord(moved))
	}
	return nil
}
