//go:build !linux

package bolt

// NetworkError says that a folder is on a network file system.
type NetworkError struct{ Folder, Kind string }

func (e *NetworkError) Error() string {
	return e.Folder + " is on a network file system (" + e.Kind + "), whose locks do not protect a store"
}

// checkFileSystem knows no network file systems here.
func checkFileSystem(string) error { return nil }
