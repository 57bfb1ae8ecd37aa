package payfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Input is a file of payouts that can be read more than once.
type Input struct {
	Name string // base name, "stdin" for standard input
	f    *os.File

	pieceSize int // of a cutter; 0: the usual one
}

// Open opens a file. Standard input is "-": it is copied to a file that has no name and
// that no one else can read.
func Open(path string, stdin io.Reader) (*Input, error) {
	if path == "-" {
		return spool(stdin)
	}
	f, err := os.Open(path) //nolint:gosec // the file that the user asked for
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR}
	}
	if err == nil && !st.Mode().IsRegular() {
		// A pipe can be read once only.
		in, err := spool(f)
		if in != nil {
			in.Name = filepath.Base(path)
		}
		return in, errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if st.Size() > maxFile {
		return nil, errors.Join(tooLarge(filepath.Base(path)), f.Close())
	}
	return &Input{Name: filepath.Base(path), f: f}, nil
}

// maxFile is how large a file may be: some 40 million rows. What is larger is sparse,
// endless, or no file of payouts.
const maxFile = 4 << 30

func tooLarge(name string) error {
	p := Problem{Text: "the file is larger than 4 GB: is it a file of payouts? Divide it", structure: true, fatal: true}
	return &FileError{Name: name, Problems: []Problem{p}, Count: 1}
}

func spool(r io.Reader) (*Input, error) {
	f, err := os.CreateTemp("", "masspay-*.csv") // mode 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	n, err := io.Copy(f, io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("standard input: %w", err), f.Close())
	}
	if n > maxFile {
		return nil, errors.Join(tooLarge("stdin"), f.Close())
	}
	return &Input{Name: "stdin", f: f}, nil
}

// Size is how many bytes the file has, 0 where that cannot be told.
func (in *Input) Size() int64 {
	st, err := in.f.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

// last is the file's last byte; 0 for an empty file.
func (in *Input) last() (byte, error) {
	size := in.Size()
	if size == 0 {
		return 0, nil
	}
	var b [1]byte
	_, err := in.f.ReadAt(b[:], size-1)
	return b[0], err
}

// Close closes the file.
func (in *Input) Close() error { return in.f.Close() }

// ID reads the whole file and returns its SHA-256 in hex, by which a batch is
// known.
func (in *Input) ID() (string, error) {
	if _, err := in.f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, in.f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
