//go:build !linux

package bolt

// FileSystemError says that a folder is on a file system whose locks nobody here knows.
type FileSystemError struct{ Folder, Kind string }

func (e *FileSystemError) Error() string {
	return e.Folder + " is on a file system (" + e.Kind + ") whose locks may not protect a store"
}

// checkFileSystem knows no file systems here.
func (Options) checkFileSystem() error { return nil }
