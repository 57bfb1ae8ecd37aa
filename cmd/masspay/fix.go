package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"masspay/batch/payfile"
	"masspay/payout"
)

// fixFlags say what becomes of a file that is put right.
type fixFlags struct {
	wanted  bool
	to      string
	changes string
}

// maxChangesShown is how many changes are shown; all are written where that is asked for.
const maxChangesShown = 20

// fix writes a file again with what has exactly one right form put right, and checks the
// result. It sends nothing, and writes over nothing.
func (a *app) fix(ctx context.Context, path string, f fixFlags, expect expectFlags, asJSON bool) error {
	if f.to == "" {
		return failf(exitConfig, "masspay check "+shellWord(path)+" --fix -o "+shellWord(fixedName(path)), "--fix wants the name of the file to write (-o); nothing was written or sent")
	}
	in, err := payfile.Open(path, a.w.stdin)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	changes := &changes{app: a}
	if f.changes != "" {
		file, err := newFile(f.changes, otherName(f.changes))
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		if err := changes.into(file); err != nil {
			return err
		}
	}
	out, err := newFile(f.to, otherName(f.to))
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<20)
	err = payfile.Fix(in, w, changes.add)
	err = errors.Join(err, w.Flush(), out.Sync(), out.Close(), changes.end())
	if err != nil {
		_ = os.Remove(f.to) // a part of a file of payouts is worse than none
		return err
	}
	if more := changes.n - maxChangesShown; more > 0 {
		a.say("... and %s more changes", payout.FormatNumber(more))
	}
	if changes.n == 0 {
		a.say("nothing to put right; %s is the same", printable(f.to))
	} else {
		a.say("wrote %s, with %s; the other file was left as it is", printable(f.to), count(changes.n, "change"))
	}
	return a.check(ctx, f.to, expect, asJSON)
}

// fixedName is a name for a file that was put right.
func fixedName(path string) string {
	if path == "-" {
		return "clean.csv"
	}
	name := filepath.Join(filepath.Dir(path), "clean-"+filepath.Base(path))
	if _, err := os.Lstat(name); err == nil {
		return freeName(name)
	}
	return name
}

func otherName(path string) string { return "choose another name, e.g. " + shellWord(freeName(path)) }

// newFile makes a file that only its owner reads; one that is there stays as it is.
func newFile(path, hint string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the file that the user asked for
	if errors.Is(err, fs.ErrExist) {
		return nil, failf(exitConfig, hint, "%s is there already, and is not written over; nothing was written or sent", path)
	}
	return f, err
}

// changes shows what was changed, and writes it down.
type changes struct {
	app *app
	n   int
	w   *csv.Writer
	err error
}

func (c *changes) into(w io.Writer) error {
	c.w = csv.NewWriter(w)
	c.w.Comma = ';'
	return c.w.Write([]string{"line", "column", "from", "to", "text"})
}

func (c *changes) add(is payfile.Change) {
	if c.n++; c.n <= maxChangesShown {
		c.app.say("%s", is)
	}
	if c.w != nil {
		line := ""
		if is.Line > 0 {
			line = strconv.Itoa(is.Line)
		}
		c.err = errors.Join(c.err, c.w.Write([]string{line, is.Column, is.From, is.To, is.Text}))
	}
}

func (c *changes) end() error {
	if c.w != nil {
		c.w.Flush()
		c.err = errors.Join(c.err, c.w.Error())
	}
	return c.err
}
