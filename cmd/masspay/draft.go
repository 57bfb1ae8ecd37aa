package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// draft is the temporary file of a result. It lies in the folder that the
// result is meant for, so that giving it the result's name is one step for
// whoever looks, and only its owner can read it.
//
// While its process lives, flock(2) is held on it. A draft that is not held is
// what a killed process left behind: the next draft in the folder removes it.
type draft struct {
	*os.File
	folder string // empty: it has no name any more
}

// draftNames match the temporary files of results, and of backups, which
// store/bolt names and locks likewise.
const draftNames = ".?*.masspay-[0-9]*.tmp"

// newDraft makes a draft for a file of this name in a folder.
func newDraft(folder, name string) (*draft, error) {
	sweep(folder)
	for len(name) > 200 { // the whole name must stay under 255 bytes
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	for range 100 {
		// O_EXCL: it never opens, follows or reuses what is there.
		f, err := os.CreateTemp(folder, "."+name+".masspay-*.tmp")
		if err != nil {
			return nil, err
		}
		err = lockFile(f)
		if err == nil && sameInode(f) {
			return &draft{File: f, folder: folder}, nil
		}
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			// No locks on this file system: it cannot be taken for a leftover.
			return &draft{File: f, folder: folder}, nil
		}
		_ = f.Close() // another process swept it before it was locked
	}
	return nil, fmt.Errorf("%s: other processes remove the temporary file of the result", folder)
}

// namelessDraft is one that no name leads to: it ends with its process.
func namelessDraft(folder string) (*draft, error) {
	f, err := os.CreateTemp(folder, "masspay-*.csv")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &draft{File: f}, nil
}

// discard closes the draft, and removes it unless it was given a name.
func (d *draft) discard() {
	if d.folder != "" {
		_ = os.Remove(d.Name())
	}
	_ = d.Close()
}

// replace puts the draft in the place of a file of its folder, whose
// permissions it takes.
func (d *draft) replace(path string, perm fs.FileMode) error {
	if err := d.Sync(); err != nil {
		return err
	}
	if err := d.Chmod(perm); err != nil { // as late as that: a leftover must be swept
		return err
	}
	if err := os.Rename(d.Name(), path); err != nil {
		return err
	}
	d.folder = ""
	return syncFolder(filepath.Dir(path))
}

// place gives the draft a name of its folder that is free, or returns
// fs.ErrExist: it never replaces a file.
func (d *draft) place(path string, perm fs.FileMode) error {
	if err := d.Sync(); err != nil {
		return err
	}
	if err := d.Chmod(perm); err != nil {
		return err
	}
	err := os.Link(d.Name(), path)
	switch {
	case err == nil:
		_ = os.Remove(d.Name()) // if not, the next draft sweeps it
	case errors.Is(err, fs.ErrExist):
		return err
	default:
		err = d.placeWithoutLinks(path)
	}
	if err != nil {
		return err
	}
	d.folder = ""
	return syncFolder(filepath.Dir(path))
}

// placeWithoutLinks is for file systems that know no hard links: it takes the
// name first.
func (d *draft) placeWithoutLinks(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // beside what the user asked for
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(d.Name(), path)
}

// sweep removes the drafts that killed processes left in a folder. What it
// cannot open, lock or remove is another's, or is no draft.
func sweep(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return // making the draft will say why
	}
	for _, e := range entries {
		if ok, err := path.Match(draftNames, e.Name()); !ok || err != nil || !e.Type().IsRegular() {
			continue
		}
		f, err := os.OpenFile(filepath.Join(folder, e.Name()), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // a name of our own form, in the folder of the result
		if err != nil {
			continue
		}
		if lockFile(f) == nil && sameInode(f) {
			_ = os.Remove(f.Name())
		}
		_ = f.Close()
	}
}

// lockFile takes the lock of an open file, or returns EWOULDBLOCK at once.
func lockFile(f *os.File) error {
	return ignoringEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// sameInode reports whether an open regular file still has its name.
func sameInode(f *os.File) bool {
	x, errX := f.Stat()
	y, errY := os.Lstat(f.Name())
	return errX == nil && errY == nil && x.Mode().IsRegular() && os.SameFile(x, y)
}

// syncFolder makes a new name in a folder durable, where the file system knows
// how to.
func syncFolder(path string) error {
	d, err := os.Open(path) //nolint:gosec // the folder of the result
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
