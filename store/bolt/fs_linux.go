package bolt

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// networkFileSystems are the file systems whose locks may not hold between
// machines, by the magic numbers of statfs(2).
var networkFileSystems = map[uint32]string{
	unix.NFS_SUPER_MAGIC:   "NFS",
	unix.SMB_SUPER_MAGIC:   "SMB",
	unix.SMB2_SUPER_MAGIC:  "SMB",
	unix.CIFS_SUPER_MAGIC:  "CIFS",
	unix.AFS_SUPER_MAGIC:   "AFS",
	unix.CEPH_SUPER_MAGIC:  "Ceph",
	unix.CODA_SUPER_MAGIC:  "Coda",
	unix.V9FS_MAGIC:        "9P",
	unix.OCFS2_SUPER_MAGIC: "OCFS2",
}

// NetworkError says that a folder is on a network file system.
type NetworkError struct{ Folder, Kind string }

func (e *NetworkError) Error() string {
	return fmt.Sprintf("%s is on a network file system (%s), whose locks do not protect a store", e.Folder, e.Kind)
}

func checkFileSystem(folder string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	if kind, ok := networkFileSystems[uint32(st.Type)]; ok {
		return &NetworkError{Folder: folder, Kind: kind}
	}
	return nil
}
