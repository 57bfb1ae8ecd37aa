package bolt

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockByte locks a byte of a file for as long as it is open; see fcntl(2), open file
// description locks.
func lockByte(f *os.File, at int64) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1})
}

// byteLocked reports whether a byte of a file is locked through another open file.
func byteLocked(f *os.File, at int64) (bool, error) {
	l := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart, Start: at, Len: 1}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l)
	return l.Type != unix.F_UNLCK, err
}
