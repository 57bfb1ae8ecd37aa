package bolt

import "fmt"

// FileSystemError says that a folder is on a file system that is not known to keep locks.
type FileSystemError struct{ Folder, Kind string }

func (e *FileSystemError) Error() string {
	return fmt.Sprintf("%s is on a file system (%s) whose locks may not protect a store", e.Folder, e.Kind)
}
