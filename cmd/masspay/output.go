package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"masspay/batch/result"
	"masspay/store"
)

// output is where a command writes its result. The rules:
//
//   - what is not a regular file, as a pipe or a device, is written through to;
//   - links are followed;
//   - a file is replaced if it is empty or a result of masspay, any other one
//     only with --force;
//   - a file that was ever loaded, that this run reads, or that the
//     configuration names is never replaced;
//   - all that is known before the first send. If it changes until the end, the
//     result is written beside it: a night is never left without its result.
type output struct {
	app    *app
	name   string // empty: standard output
	force  bool
	config *config
	inputs []string // of this run

	reporting result.Report

	before contents // of the target, before the first send
}

// outputFlags are what run and report share.
type outputFlags struct {
	name  string
	force bool
}

func (f *outputFlags) register(c *cobra.Command) {
	c.Flags().StringVarP(&f.name, "output", "o", "", "write the result to `FILE`, replacing an older result")
	c.Flags().BoolVar(&f.force, "force", false, "let -o replace a file that is not a result of masspay; never one that was loaded")
}

func (a *app) output(c *config, f outputFlags, inputs ...string) *output {
	return &output{app: a, name: f.name, force: f.force, config: c, inputs: inputs, reporting: result.Report{Rules: c.rules()}}
}

// kept says why a file must not be replaced.
type kept struct {
	what   string // the file is
	force  bool   // --force would replace it
	config bool   // the configuration names it
}

func (k *kept) Error() string { return "it is " + k.what + ", which was not replaced" }

// check refuses, before anything is sent, what the result could not be written
// to and what it must not replace. It leaves nothing behind.
func (o *output) check(ctx context.Context, s store.Store) error {
	if o.name == "" || o.writer() != nil {
		return nil // what the shell has opened is the shell's to care for
	}
	t, err := lookAt(o.name)
	if err == nil {
		err = o.mayTake(ctx, s, t)
	}
	var k *kept
	switch {
	case errors.As(err, &k):
		hint := "choose another name with -o"
		if !k.config {
			hint += ", e.g. -o " + shellWord(freeName(t.path))
		}
		if k.force {
			hint += "; or add --force, which replaces " + o.name
		}
		return failf(exitConfig, hint, "-o %s would write over %s; nothing was sent", o.name, k.what)
	case errors.Is(err, syscall.EISDIR):
		return failf(exitConfig, "name a file in it, e.g. -o "+shellWord(filepath.Join(o.name, "result.csv")), "%s is a folder; nothing was sent", o.name)
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrDamaged), errors.Is(err, context.Canceled):
		return err
	}
	if err == nil {
		err = t.writable()
	}
	if err != nil {
		return failf(exitConfig, "choose another place with -o", "the result could not be written to %s: %w; nothing was sent", o.name, cause(err))
	}
	return nil
}

// loaded refuses a target that has become an input by the loading of b.
func (o *output) loaded(b store.Batch) error {
	if o.before.sum != b.ID {
		return nil
	}
	return failf(exitConfig, "choose another name with -o, e.g. -o "+shellWord(freeName(o.name)), "-o %s would write over %s; nothing was sent", o.name, inputOf(b))
}

func inputOf(b store.Batch) string {
	return fmt.Sprintf("the input of batch %s (%s)", b.Short(), b.Name)
}

// mayTake returns an error if the result must not go to the target.
func (o *output) mayTake(ctx context.Context, s store.Store, t target) error {
	for _, precious := range o.config.preciousFiles() {
		if t.is(precious) {
			return &kept{what: precious, config: true}
		}
	}
	for _, input := range o.inputs {
		if t.is(input) {
			return &kept{what: input}
		}
	}
	if in, ok := o.app.w.stdin.(*os.File); ok && slices.Contains(o.inputs, "-") && t.info != nil {
		if st, err := in.Stat(); err == nil && st.Mode()&fs.ModeCharDevice == 0 && os.SameFile(st, t.info) {
			return &kept{what: "standard input"}
		}
	}
	if t.info == nil {
		return nil
	}
	switch m := t.info.Mode(); {
	case m.IsDir():
		return &fs.PathError{Op: "write", Path: t.name, Err: syscall.EISDIR}
	case m&fs.ModeSocket != 0:
		return errors.New("it is a socket")
	case m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0 && !o.force:
		return &kept{what: "a disk", force: true}
	case m.IsRegular():
		return o.mayReplace(ctx, s, t)
	}
	return nil
}

// mayReplace returns an error if a regular file must stay as it is.
func (o *output) mayReplace(ctx context.Context, s store.Store, t target) error {
	c := o.before
	if !c.unchanged(t.info) {
		var err error
		if c, err = t.read(ctx); err != nil {
			return err // what cannot be read may be anything
		}
		o.before = c
	}
	if c.empty {
		return nil
	}
	b, err := s.Batch(ctx, c.sum)
	switch {
	case err == nil:
		return &kept{what: inputOf(b)}
	case !errors.Is(err, store.ErrNoBatch):
		return err
	case !c.result && !o.force:
		return &kept{what: "a file that is not a result of masspay", force: true}
	}
	return nil
}

// written says where a result went.
type written struct {
	result.Summary
	path      string // empty: standard output
	elsewhere error  // why it is not where it was asked for; nil: it is
}

// write writes the result of a batch, after it was read back. To wait for who
// reads a pipe or a device ends with patience. Where the result cannot go to its
// target any more, it goes to a free name beside it, or into the store's folder.
func (o *output) write(ctx, patience context.Context, s store.Store, b store.Batch) (written, error) {
	if o.name == "" {
		sum, err := o.reporting.To(ctx, s, b, o.app.w.stdout)
		return written{Summary: sum}, err
	}
	sum, err := o.writeToTarget(ctx, patience, s, b)
	if err == nil || hopeless(err) {
		return written{Summary: sum, path: o.name}, err
	}
	w := written{elsewhere: err}
	w.path, w.Summary, err = o.putElsewhere(context.WithoutCancel(ctx), s, b)
	if err != nil {
		return w, errors.Join(w.elsewhere, err)
	}
	return w, nil
}

// tell says that a result is not where it was asked for, and where it is.
func (o *output) tell(w written, b store.Batch) {
	if w.elsewhere == nil {
		return
	}
	o.app.say("masspay: the result was not written to %s: %s", o.name, oneLine(cause(w.elsewhere).Error()))
	o.app.say("masspay: the whole result is in %s; the payouts are as it says", w.path)
	again, more := "masspay report "+b.Short()+" -o "+shellWord(o.name), "writes it there when that is possible again"
	var k *kept
	switch {
	case errors.As(w.elsewhere, &k) && k.force:
		again, more = again+" --force", "replaces "+o.name
	case k != nil:
		again, more = "masspay report "+b.Short()+" -o "+shellWord(freeName(w.path)), "writes it under another name"
	}
	o.app.say("hint: %s %s", again, more)
}

// writeToTarget writes the result to where it was asked for, or nowhere.
func (o *output) writeToTarget(ctx, patience context.Context, s store.Store, b store.Batch) (result.Summary, error) {
	if _, err := o.target(ctx, s); err != nil {
		return result.Summary{}, err
	}
	d, err := o.draft()
	if err != nil {
		return result.Summary{}, err
	}
	defer d.discard()
	sum, err := o.reporting.Write(ctx, s, b, d.File)
	if err != nil {
		return sum, err
	}
	t, err := o.target(ctx, s) // once more: the report may have taken its time
	if err != nil {
		return sum, err
	}
	return sum, o.put(patience, t, d)
}

// target is what -o leads to now, if the result may go there.
func (o *output) target(ctx context.Context, s store.Store) (target, error) {
	if o.writer() != nil {
		return target{name: o.name, path: o.name}, nil
	}
	t, err := lookAt(o.name)
	if err == nil {
		err = o.mayTake(ctx, s, t)
	}
	return t, err
}

// hopeless are errors that another place for the result does not help.
func hopeless(err error) bool {
	return errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrBusy) || errors.Is(err, result.ErrUnlike) ||
		errors.Is(err, context.Canceled)
}

// draft is a new temporary file for the result: beside a regular target, else
// one without a name.
func (o *output) draft() (*draft, error) {
	if o.writer() != nil {
		return namelessDraft("")
	}
	t, err := lookAt(o.name)
	if err != nil {
		return nil, err
	}
	if t.stream() {
		return namelessDraft("")
	}
	return newDraft(filepath.Dir(t.path), filepath.Base(t.path))
}

// put gives the draft to its target.
func (o *output) put(patience context.Context, t target, d *draft) error {
	switch w := o.writer(); {
	case w != nil:
		signal.Ignore(unix.SIGPIPE) // a reader that left is an error, not the end
		return d.copyTo(w)
	case t.stream():
		return o.through(patience, t, d)
	case d.folder == "" || filepath.Dir(t.path) != d.folder:
		return errors.New("the name leads elsewhere than a moment ago")
	case t.info == nil:
		return d.place(t.path, o.perm())
	default:
		return d.replace(t.path, t.info.Mode().Perm())
	}
}

// perm are the permissions of a result that replaces none.
func (o *output) perm() fs.FileMode {
	perm, err := o.config.Result.perm()
	if err != nil { // validated before
		return 0o600
	}
	return perm
}

// grace is how long an interrupted command goes on giving the result to a pipe
// that is being read.
const grace = 3 * time.Second

// through copies the draft to a pipe or a device.
func (o *output) through(patience context.Context, t target, d *draft) error {
	f, err := o.openStream(patience, t)
	if err != nil {
		return err
	}
	// What cannot have a deadline does not wait for a reader either.
	stop := context.AfterFunc(patience, func() { _ = f.SetWriteDeadline(time.Now().Add(grace)) })
	defer stop()
	err = errors.Join(d.copyTo(f), f.Close())
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.New("it was not read to the end")
	}
	return err
}

// openStream opens what is not a regular file, and waits for the reader of a
// pipe for as long as there is patience.
func (o *output) openStream(patience context.Context, t target) (*os.File, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; told = true {
		f, err := os.OpenFile(t.name, os.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err == nil {
			if st, err := f.Stat(); err != nil || !os.SameFile(st, t.info) {
				return nil, errors.Join(err, f.Close(), errors.New("the name leads elsewhere than a moment ago"))
			}
			return f, nil
		}
		if t.info.Mode()&fs.ModeNamedPipe == 0 || !errors.Is(err, unix.ENXIO) {
			return nil, err
		}
		if patience.Err() != nil {
			return nil, errors.New("nobody reads the pipe")
		}
		if !told {
			o.app.say("waiting for a reader of the pipe %s (Ctrl-C writes the result to a file instead)", t.name)
		}
		select {
		case <-patience.Done():
		case <-tick.C:
		}
	}
}

// copyTo writes the whole draft to w.
func (d *draft) copyTo(w io.Writer) error {
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, d.File)
	return err
}

// putElsewhere writes the result under a free name beside the name that was
// asked for, beside where that leads, or in the store's folder: into the first of
// these that takes it.
func (o *output) putElsewhere(ctx context.Context, s store.Store, b store.Batch) (string, result.Summary, error) {
	var folders []string
	name := "result.csv"
	if t, _ := lookAt(o.name); o.writer() == nil && (t.info == nil || t.info.Mode()&fs.ModeDevice == 0) {
		// Not beside a device: what lies there is gone after a restart.
		name = filepath.Base(o.name)
		folders = append(folders, filepath.Dir(o.name), filepath.Dir(t.path))
	}
	folders = append(folders, filepath.Dir(o.config.Store.Path))
	var all error
	for _, folder := range slices.Compact(folders) {
		path, sum, err := o.putBeside(ctx, s, b, filepath.Join(folder, name))
		if err == nil || hopeless(err) {
			return path, sum, err
		}
		all = errors.Join(all, err)
	}
	return "", result.Summary{}, all
}

// putBeside writes the result under a free name beside a file.
func (o *output) putBeside(ctx context.Context, s store.Store, b store.Batch, path string) (string, result.Summary, error) {
	d, err := newDraft(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		return "", result.Summary{}, err
	}
	defer d.discard()
	sum, err := o.reporting.Write(ctx, s, b, d.File)
	if err != nil {
		return "", sum, err
	}
	for n := 2; n < 10_000; n++ {
		free := numbered(path, n)
		if err = d.place(free, o.perm()); !errors.Is(err, fs.ErrExist) {
			return free, sum, err
		}
	}
	return "", sum, err
}

// numbered is the nth name beside a file.
func numbered(path string, n int) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + ".masspay-" + strconv.Itoa(n) + ext
}

// freeName suggests a name beside a file.
func freeName(path string) string {
	for n := 2; ; n++ {
		if _, err := os.Lstat(numbered(path, n)); err != nil {
			return numbered(path, n)
		}
	}
}

// writer is the stream of this process that -o names, or nil. It is written to
// as it is: opened by name, a file behind it would start again at its beginning.
func (o *output) writer() io.Writer {
	switch {
	case standardOutput(o.name):
		return o.app.w.stdout
	case slices.Contains([]string{"/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"}, filepath.Clean(o.name)):
		return o.app.w.stderr
	}
	return nil
}

// standardOutput reports whether a name is one of standard output's.
func standardOutput(name string) bool {
	return slices.Contains([]string{"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}, filepath.Clean(name))
}

// cause is an error without the name of the file that it is about.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// preciousFiles are those that a configuration names and that no result may
// replace.
func (c *config) preciousFiles() []string {
	files := []string{c.file, c.Store.Path, c.Store.KeyFile, c.markerPath()}
	for _, p := range c.Projects {
		files = append(files, p.SecretFile, p.PreviousSecretFile)
	}
	if beside, err := filepath.Glob(c.Store.Path + ".*"); err == nil {
		files = append(files, beside...)
	}
	return files
}

// shellWord is a name as a shell takes it.
func shellWord(s string) string { return result.ShellWord(s) }
