package bolt

import (
	"os"
	"syscall"
)

// adopt gives a file beside the store to the store's owner, when root has made it: else
// whoever comes first would keep the others out. It follows no link. What it cannot
// change stays as it is, and whoever cannot use it says so.
func adopt(path, store string) {
	if os.Geteuid() != 0 {
		return
	}
	st, err := os.Stat(store)
	if err != nil {
		return
	}
	of, ok := st.Sys().(*syscall.Stat_t)
	mine, err := os.Lstat(path)
	if err != nil || !ok || of.Uid == 0 || !mine.Mode().IsRegular() {
		return
	}
	if is, ok := mine.Sys().(*syscall.Stat_t); ok && is.Uid == 0 && is.Nlink == 1 {
		_ = os.Lchown(path, int(of.Uid), int(of.Gid))
	}
}
