//go:build !linux

package bolt

// checkFileSystem knows no file systems here.
func (Options) checkFileSystem() error { return nil }
