//go:build linux

package forgetful

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// folder is the disk's only folder.
type folder struct {
	fs.Inode
	d *Disk
}

// node is a file.
type node struct {
	fs.Inode
	d *Disk
	f *file
}

var (
	_ fs.NodeLookuper       = (*folder)(nil)
	_ fs.NodeCreater        = (*folder)(nil)
	_ fs.NodeUnlinker       = (*folder)(nil)
	_ fs.NodeRenamer        = (*folder)(nil)
	_ fs.NodeLinker         = (*folder)(nil)
	_ fs.NodeOpendirHandler = (*folder)(nil)

	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
)

func (r *folder) inode(ctx context.Context, f *file, out *fuse.EntryOut) *fs.Inode {
	f.attributes(&out.Attr)
	return r.NewInode(ctx, &node{d: r.d, f: f}, fs.StableAttr{Mode: syscall.S_IFREG, Ino: f.ino})
}

func (f *file) attributes(a *fuse.Attr) {
	a.Ino, a.Mode, a.Size, a.Nlink = f.ino, syscall.S_IFREG|f.mode, uint64(len(f.data)), 1
}

func (r *folder) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	f := r.d.names[name]
	if f == nil {
		return nil, syscall.ENOENT
	}
	if r.d.isOut() {
		return nil, syscall.EIO
	}
	return r.inode(ctx, f, out), 0
}

func (r *folder) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	var f *file
	errno := r.d.do(Name, name, func() {
		r.d.ino++
		f = &file{ino: r.d.ino, mode: mode & 0o777}
		r.d.rename(func(names map[string]*file) { names[name] = f })
	})
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return r.inode(ctx, f, out), nil, 0, 0
}

func (r *folder) Unlink(_ context.Context, name string) syscall.Errno {
	return r.d.do(Name, name, func() {
		r.d.rename(func(names map[string]*file) { delete(names, name) })
	})
}

func (r *folder) Rename(_ context.Context, name string, _ fs.InodeEmbedder, newName string, _ uint32) syscall.Errno {
	return r.d.do(Name, newName, func() {
		f := r.d.names[name]
		r.d.rename(func(names map[string]*file) {
			delete(names, name)
			names[newName] = f
		})
	})
}

func (r *folder) Link(_ context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	old, ok := target.(*node)
	if !ok {
		return nil, syscall.EPERM
	}
	errno := r.d.do(Name, name, func() {
		r.d.rename(func(names map[string]*file) { names[name] = old.f })
	})
	if errno != 0 {
		return nil, errno
	}
	old.f.attributes(&out.Attr)
	return &old.Inode, 0
}

// OpendirHandle gives a folder that can be fsynced and listed.
func (r *folder) OpendirHandle(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	var list []fuse.DirEntry
	for name, f := range r.d.names {
		list = append(list, fuse.DirEntry{Name: name, Mode: syscall.S_IFREG, Ino: f.ino})
	}
	return &listing{d: r.d, left: list}, 0, 0
}

// listing is an open folder.
type listing struct {
	d    *Disk
	left []fuse.DirEntry
}

var (
	_ fs.FileReaddirenter = (*listing)(nil)
	_ fs.FileFsyncdirer   = (*listing)(nil)
)

func (l *listing) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if len(l.left) == 0 {
		return nil, 0
	}
	e := l.left[0]
	l.left = l.left[1:]
	return &e, 0
}

func (l *listing) Fsyncdir(context.Context, uint32) syscall.Errno {
	return l.d.do(Sync, "", func() {
		for _, change := range l.d.late {
			change()
		}
		l.d.late = nil
	})
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_TRUNC == 0 {
		return nil, 0, 0
	}
	return nil, 0, n.d.do(Write, n.d.nameOf(n.f), func() { n.f.resize(0) })
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	if n.d.isOut() {
		return nil, syscall.EIO
	}
	at = min(at, int64(len(n.f.data)))
	return fuse.ReadResultData(append([]byte(nil), n.f.data[at:min(int(at)+len(dest), len(n.f.data))]...)), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, at int64) (uint32, syscall.Errno) {
	if errno := n.d.do(Write, n.d.nameOf(n.f), func() { n.f.write(data, at) }); errno != 0 {
		return 0, errno
	}
	return uint32(len(data)), 0
}

func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return n.d.do(Sync, n.d.nameOf(n.f), func() {
		n.f.kept = append([]byte(nil), n.f.data...)
		n.f.late = nil
	})
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	if n.d.isOut() {
		return syscall.EIO
	}
	n.f.attributes(&out.Attr)
	return 0
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if errno := n.d.do(Write, n.d.nameOf(n.f), func() { n.f.resize(int64(size)) }); errno != 0 {
			return errno
		}
	}
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	if mode, ok := in.GetMode(); ok {
		n.f.mode = mode & 0o777
	}
	n.f.attributes(&out.Attr)
	return 0
}
