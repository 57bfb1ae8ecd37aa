package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// canWrite tries whether a file can be written, before anything is sent, and
// refuses to write over what must not be lost.
func canWrite(c *config, output string, inputs ...string) error {
	if output == "" {
		return nil
	}
	st, err := os.Stat(output)
	if err == nil && st.IsDir() {
		return failf(exitConfig, "name a file in it, e.g. -o "+filepath.Join(output, "result.csv"), "%s is a folder; nothing was sent", output)
	}
	for _, precious := range append(c.preciousFiles(), inputs...) {
		if sameFile(output, precious) {
			return failf(exitConfig, "choose another name with -o", "-o %s would write over %s; nothing was sent", output, precious)
		}
	}
	f, err := os.CreateTemp(filepath.Dir(output), ".masspay-*")
	if err != nil {
		return failf(exitConfig, "choose another place with -o", "the result could not be written to %s: %w; nothing was sent", filepath.Dir(output), cause(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
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

// sameFile reports whether two names mean one file.
func sameFile(a, b string) bool {
	if b == "" || b == "-" {
		return false
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return os.SameFile(x, y)
	}
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && strings.EqualFold(absA, absB)
}
