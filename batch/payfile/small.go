package payfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// ErrNotSmall says that a file is too long for what it should be, or no file at all.
var ErrNotSmall = errors.New("not what it should be")

// ReadSmall reads a whole file of at most so many bytes. What is no regular file, a pipe say,
// is not waited for: it wraps ErrNotSmall, as one that is too long.
func ReadSmall(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // of the user, beside the file that was named
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no regular file", ErrNotSmall, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", ErrNotSmall, path, most)
	}
	return text, err
}
