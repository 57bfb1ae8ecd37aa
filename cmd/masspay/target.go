package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// target is what the name behind -o leads to at one moment.
type target struct {
	name string      // as the user gave it
	path string      // where links lead; of what is not a regular file, name
	info fs.FileInfo // nil: nothing is there yet
}

// lookAt follows a name, and opens nothing: to open a pipe would wait for its
// reader.
func lookAt(name string) (target, error) {
	t := target{name: name, path: name}
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		t.info = info
		return t, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	path, err := follow(name)
	if err != nil {
		return t, err
	}
	t.path = path
	end, err := os.Lstat(t.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && info == nil:
		return t, nil
	case err != nil:
		return t, err
	case info == nil || !os.SameFile(info, end):
		// For instance /dev/fd/3 of a file that was deleted.
		return t, fmt.Errorf("%s leads to a file that has no name of its own", name)
	}
	t.info = info
	return t, nil
}

// follow is the path of the file that a name leads to, over links, also where
// no such file is there yet.
func follow(name string) (string, error) {
	path := name
	for range 40 { // as the kernel
		folder, last := filepath.Split(path)
		if folder == "" {
			folder = "."
		}
		folder, err := filepath.EvalSymlinks(folder)
		if err != nil {
			return "", err
		}
		path = filepath.Join(folder, last)
		to, err := os.Readlink(path)
		if err != nil { // no link: the file itself, or nothing
			return path, nil //nolint:nilerr // see above
		}
		if path = to; !filepath.IsAbs(to) {
			path = folder + string(filepath.Separator) + to // not Join: x/.. may lead elsewhere than .
		}
	}
	return "", &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
}

// stream reports whether the target takes what is written to it instead of
// being a file that can be replaced.
func (t target) stream() bool { return t.info != nil && !t.info.Mode().IsRegular() }

// is reports whether a target and a name mean one file. Devices belong to no one
// file.
func (t target) is(name string) bool {
	if name == "" || name == "-" || t.info != nil && t.info.Mode()&fs.ModeCharDevice != 0 {
		return false
	}
	other, err := os.Stat(name)
	if t.info != nil {
		return err == nil && os.SameFile(t.info, other)
	}
	if err == nil {
		return false
	}
	path, err := follow(name)
	if err != nil {
		return false
	}
	a, errA := filepath.Abs(t.path)
	b, errB := filepath.Abs(path)
	return errA == nil && errB == nil && strings.EqualFold(a, b)
}

// writable tries whether a result could be written to the target, and leaves
// nothing behind.
func (t target) writable() error {
	if t.stream() {
		return unix.Access(t.name, unix.W_OK)
	}
	d, err := newDraft(filepath.Dir(t.path), filepath.Base(t.path))
	if err != nil {
		return err
	}
	d.discard()
	return nil
}

// contents are what a regular file was found to hold.
type contents struct {
	info   fs.FileInfo
	empty  bool
	result bool   // a result of masspay, whatever a spreadsheet made of it
	sum    string // SHA-256 in hex, by which a batch is known
}

// unchanged reports whether a file is still the one that was read.
func (c contents) unchanged(now fs.FileInfo) bool {
	return c.info != nil && os.SameFile(c.info, now) && c.info.Size() == now.Size() && c.info.ModTime().Equal(now.ModTime())
}

// headBytes are looked at for the header of a result; a row has at most half as many.
const headBytes = 512 << 10

// read reads the target, a regular file, in pieces.
func (t target) read(ctx context.Context) (contents, error) {
	var c contents
	// O_NONBLOCK: should it have become a pipe, opening it does not wait.
	f, err := os.OpenFile(t.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return c, err
	}
	defer func() { _ = f.Close() }()
	if c.info, err = f.Stat(); err != nil {
		return c, err
	}
	if !c.info.Mode().IsRegular() || !os.SameFile(c.info, t.info) {
		return c, errChanging
	}
	head := make([]byte, min(headBytes, c.info.Size()+1))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return c, err
	}
	c.empty, c.result = n == 0, isResult(head[:n])
	h := sha256.New()
	h.Write(head[:n])
	for err == nil {
		if err = ctx.Err(); err == nil {
			_, err = io.CopyN(h, f, 8<<20)
		}
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return c, err
	}
	c.sum = hex.EncodeToString(h.Sum(nil))
	if now, err := os.Lstat(t.path); err != nil || !c.unchanged(now) {
		return c, errChanging
	}
	return c, nil
}

var errChanging = errors.New("it is being changed at this moment")

// isResult recognizes a result of masspay by its header, which has the column
// result.state. Spreadsheets save it with another delimiter, with quotes, in
// UTF-16, with a byte order mark, and with a line sep=; before it.
func isResult(head []byte) bool {
	text := headText(head)
	delimiters := []rune(";,\t|")
	line, rest, _ := strings.Cut(text, "\n")
	line = strings.Trim(line, "\"\r")
	if len(line) > 4 && strings.EqualFold(line[:4], "sep=") {
		text = rest
		if d, _ := utf8.DecodeRuneInString(line[4:]); d != '"' && d != utf8.RuneError {
			delimiters = append(delimiters, d)
		}
	}
	for _, d := range delimiters {
		r := csv.NewReader(strings.NewReader(text))
		r.Comma, r.LazyQuotes = d, true
		if header, err := r.Read(); err == nil && slices.Contains(header, "result.state") {
			return true
		}
	}
	return false
}

// headText decodes the beginning of a file by its byte order mark.
func headText(head []byte) string {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return string(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")))
	}
	units := make([]uint16, 0, len(head)/2)
	for i := 2; i+1 < len(head); i += 2 {
		units = append(units, order.Uint16(head[i:]))
	}
	return string(utf16.Decode(units))
}
