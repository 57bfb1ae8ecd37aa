package bolt

import (
	"fmt"
	"path/filepath"

	"masspay/store"

	"golang.org/x/sys/unix"
)

// localFileSystems are those whose locks hold between all processes that see a file,
// and whose syncs are known to sync, by the magic numbers of statfs(2). All others are
// refused: network file systems, whose locks may not hold between machines, and
// those that a program serves (FUSE), which may be anything.
var localFileSystems = map[uint32]bool{
	unix.EXT4_SUPER_MAGIC:      true, // and ext2, ext3
	unix.XFS_SUPER_MAGIC:       true,
	unix.BTRFS_SUPER_MAGIC:     true,
	0x2fc12fc1:                 true, // ZFS
	unix.F2FS_SUPER_MAGIC:      true,
	0xca451a4e:                 true, // bcachefs
	unix.TMPFS_MAGIC:           true,
	unix.OVERLAYFS_SUPER_MAGIC: true,
	unix.ECRYPTFS_SUPER_MAGIC:  true,
}

// knownFileSystems are the names of others.
var knownFileSystems = map[uint32]string{
	unix.NFS_SUPER_MAGIC:    "NFS",
	unix.SMB_SUPER_MAGIC:    "SMB",
	unix.SMB2_SUPER_MAGIC:   "SMB",
	unix.CIFS_SUPER_MAGIC:   "CIFS",
	unix.AFS_SUPER_MAGIC:    "AFS",
	unix.CEPH_SUPER_MAGIC:   "Ceph",
	unix.CODA_SUPER_MAGIC:   "Coda",
	unix.V9FS_MAGIC:         "9P",
	unix.OCFS2_SUPER_MAGIC:  "OCFS2",
	unix.FUSE_SUPER_MAGIC:   "FUSE",
	unix.MSDOS_SUPER_MAGIC:  "FAT",
	unix.HOSTFS_SUPER_MAGIC: "hostfs",
	0x5346544e:              "NTFS",
	0x2011bab0:              "exFAT",
	0x786f4256:              "a VirtualBox shared folder",
	0xbacbacbc:              "a VMware shared folder",
	0x0bd00bd0:              "Lustre",
	0x01161970:              "GFS2",
	0x19830326:              "BeeGFS",
}

func (o Options) checkFileSystem() error {
	folder := filepath.Dir(o.Path)
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	magic := uint32(st.Type)
	if localFileSystems[magic] || o.AnyFileSystem {
		return nil
	}
	kind := knownFileSystems[magic]
	if kind == "" {
		kind = fmt.Sprintf("number %#x", magic)
	}
	return &store.FileSystemError{Folder: folder, Kind: kind}
}
