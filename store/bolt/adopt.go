package bolt

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// adopt gives a file beside the store to the store's owner, when root has made it: else
// whoever comes first would keep the others out. Dangerous to do by name: the owner of
// the folder could put another file there meanwhile. What it cannot change stays as it
// is, and whoever cannot use it says so.
func adopt(path, store string) {
	if os.Geteuid() != 0 {
		return
	}
	st, err := os.Stat(store)
	if err != nil {
		return
	}
	of, ok := st.Sys().(*syscall.Stat_t)
	if !ok || of.Uid == 0 {
		return
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // beside the configured path
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	mine, err := f.Stat()
	if err != nil || !mine.Mode().IsRegular() || mine.Size() > largestBeside {
		return
	}
	is, ok := mine.Sys().(*syscall.Stat_t)
	named, err := os.Lstat(path)
	if ok && err == nil && is.Uid == 0 && is.Nlink == 1 && os.SameFile(mine, named) {
		_ = f.Chown(int(of.Uid), int(of.Gid))
	}
}

// largestBeside is more than any lock, rate or marker file has.
const largestBeside = 4096
