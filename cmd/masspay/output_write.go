package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"masspay/batch/result"
	"masspay/store"
)

// written says where a result went.
type written struct {
	result.Summary
	path      string       // empty: standard output
	elsewhere error        // why it is not where it was asked for; nil: it is
	replaced  *store.Batch // whose result it replaced, where that is another batch
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
	if err == nil {
		return written{Summary: sum, path: o.name, replaced: o.wasResultOf(ctx, s, b)}, nil
	}
	if hopeless(err) {
		return written{Summary: sum, path: o.name}, err
	}
	w := written{elsewhere: err}
	w.path, w.Summary, err = o.putElsewhere(context.WithoutCancel(ctx), s, b)
	if err != nil {
		return w, errors.Join(w.elsewhere, err)
	}
	return w, nil
}

// wasResultOf is the other batch whose result the target was, as masspay had written it, or
// nil. That it cannot be found out is no reason to call the result unwritten.
func (o *output) wasResultOf(ctx context.Context, s store.Store, b store.Batch) *store.Batch {
	if !o.before.result {
		return nil
	}
	files, err := resultFiles(ctx, s)
	of := files.of[o.before.sum]
	if err != nil || of == "" || of == b.ID {
		return nil
	}
	was, err := s.Batch(ctx, of)
	if err != nil {
		return nil
	}
	return &was
}

// tell says that a result is not where it was asked for, and where it is; or whose result
// was there before.
func (o *output) tell(w written, b store.Batch) {
	if was := w.replaced; was != nil {
		o.app.say("%s was the result of batch %s (%s); nothing is lost with it", o.name, was.Short(), printable(was.Name))
		o.app.say("hint: to write that one again: masspay report %s -o %s", was.Short(), shellWord(freeName(w.path)))
	}
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
			return nil, errors.New("the pipe has no reader")
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
	folders = append(folders, filepath.Dir(o.config.markerPath())) // beside the store, or what this machine keeps of it
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
