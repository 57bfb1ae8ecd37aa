package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

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
	return errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrBusy) || errors.Is(err, result.ErrMismatch) ||
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

// preciousFiles are those that a configuration names and that no result may
// replace.
func (c *config) preciousFiles() []string {
	files := []string{c.file, c.Store.Path, c.Store.KeyFile, c.markerPath()}
	for _, p := range c.Projects {
		files = append(files, p.SecretFile, p.PreviousSecretFile)
	}
	files = append(files, c.Store.PasswordFile)
	if beside, err := filepath.Glob(c.Store.Path + ".*"); c.Store.Path != "" && err == nil {
		files = append(files, beside...)
	}
	return files
}

// shellWord is a name as a shell takes it.
func shellWord(s string) string { return result.ShellWord(s) }
