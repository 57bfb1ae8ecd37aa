//go:build linux

// Package forgetful is a disk for tests that does what a real one may do when
// the power goes: it forgets what was not fsynced, all of it or pieces of it in
// any order. It is a FUSE file system that keeps everything in memory, so only
// other processes may use it: a page fault of the process that serves it could
// wait for itself.
package forgetful

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"
)

// Op is a kind of operation that changes a disk.
type Op int

// The operations.
const (
	Write Op = iota // of a file's content, or of its length
	Sync            // of a file or of the folder
	Name            // a file is made, removed, renamed or linked
)

// Disk is one folder of files.
type Disk struct {
	t      testing.TB
	path   string
	server *fuse.Server

	mu    sync.Mutex
	rng   *rand.Rand
	names map[string]*file // as a process sees them
	kept  map[string]*file // as they are on the platter
	late  []func()         // changes of names that are not on it yet, in order
	ino   uint64
	ops   int
	cut   int // the power goes at this operation; 0: never
	out   chan struct{}
	fault func(op Op, name string) syscall.Errno
}

// file is a file's content, which may have several names.
type file struct {
	ino  uint64
	mode uint32
	data []byte  // as a process sees it
	kept []byte  // as it is on the platter
	late []piece // what was written since, in order
}

// piece is a write of at most a sector, or a change of length.
type piece struct {
	data   []byte
	at     int64
	resize bool
}

// sector is what a disk writes whole or not at all.
const sector = 4096

// Mount makes an empty disk. Where FUSE cannot be used it skips the test, and
// says so.
func Mount(t testing.TB, seed uint64) *Disk {
	t.Helper()
	d := &Disk{
		t: t, path: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 0)),
		names: map[string]*file{}, kept: map[string]*file{}, ino: 2,
	}
	if _, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("SKIPPED, NOTHING WAS PROVED: power cuts need /dev/fuse: %v", err)
	}
	if err := d.mount(); err != nil {
		t.Skipf("SKIPPED, NOTHING WAS PROVED: power cuts need the right to mount a file system: %v", err)
	}
	t.Cleanup(d.unmount)
	return d
}

func (d *Disk) mount() (err error) {
	d.out = make(chan struct{})
	d.server, err = fs.Mount(d.path, &folder{d: d}, &fs.Options{MountOptions: fuse.MountOptions{DirectMountStrict: true, Name: "forgetful"}})
	return err
}

func (d *Disk) unmount() {
	if d.server != nil {
		require.NoError(d.t, d.server.Unmount(), "it is still used the disk")
		d.server = nil
	}
}

// Path is the folder.
func (d *Disk) Path() string { return d.path }

// CutAfter lets the power go at the nth operation from now on.
func (d *Disk) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = d.ops + n
}

// Out is closed when the power has gone. Every operation fails from then on.
func (d *Disk) Out() <-chan struct{} { return d.out }

// Ops is how many operations there were.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Fail lets operations fail for which fault says so; nil: none.
func (d *Disk) Fail(fault func(op Op, name string) syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// Restart is the power coming back: what is on the platter is what there is.
// No one may use the disk any more. It returns what was forgotten.
func (d *Disk) Restart() string {
	d.unmount()
	d.mu.Lock()
	defer d.mu.Unlock()
	// Names change in order; files are written in any.
	names := 0
	if len(d.late) > 0 {
		names = d.rng.IntN(len(d.late) + 1)
	}
	for _, change := range d.late[:names] {
		change()
	}
	forgot := fmt.Sprintf("%d of %d changed names", len(d.late)-names, len(d.late))
	d.late, d.names = nil, map[string]*file{}
	survivors := map[*file]*file{}
	for name, f := range d.kept {
		if survivors[f] == nil {
			lost := f.survive(d.rng)
			if len(f.late) > 0 {
				forgot += fmt.Sprintf(", %d of %d writes to %s", lost, len(f.late), name)
			}
			survivors[f] = &file{ino: f.ino, mode: f.mode, data: f.kept, kept: append([]byte(nil), f.kept...)}
		}
		d.names[name] = survivors[f]
	}
	d.kept = map[string]*file{}
	for name, f := range d.names {
		d.kept[name] = f
	}
	d.cut = 0
	require.NoError(d.t, d.mount())
	return forgot
}

// survive writes down what happens to have reached the platter of what was
// written since the last fsync: nothing, all, or pieces in any order.
func (f *file) survive(rng *rand.Rand) (lost int) {
	likely := []float64{0, 1, rng.Float64()}[rng.IntN(3)]
	for _, p := range f.late {
		if rng.Float64() >= likely {
			lost++
			continue
		}
		f.kept = p.apply(f.kept)
	}
	return lost
}

func (p piece) apply(b []byte) []byte {
	end := p.at + int64(len(p.data))
	if p.resize && int64(len(b)) > p.at {
		return b[:p.at:p.at]
	}
	if int64(len(b)) < end {
		b = append(b[:len(b):len(b)], make([]byte, end-int64(len(b)))...)
	}
	copy(b[p.at:], p.data)
	return b
}

// write does a write, in pieces.
func (f *file) write(data []byte, at int64) {
	for len(data) > 0 {
		n := min(sector-int(at%sector), len(data))
		p := piece{data: append([]byte(nil), data[:n]...), at: at}
		f.data = p.apply(f.data)
		f.late = append(f.late, p)
		data, at = data[n:], at+int64(n)
	}
}

func (f *file) resize(size int64) {
	p := piece{at: size, resize: true}
	f.data = p.apply(f.data)
	f.late = append(f.late, p)
}

// do runs an operation, unless the power is out or it is to fail.
func (d *Disk) do(op Op, name string, change func()) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isOut() {
		return syscall.EIO
	}
	d.ops++
	if d.ops == d.cut {
		close(d.out)
		return syscall.EIO
	}
	if d.fault != nil {
		if errno := d.fault(op, name); errno != 0 {
			if f := d.names[name]; op == Sync && f != nil {
				f.late = nil // as Linux does: what could not be written is forgotten, and counts as clean
			}
			return errno
		}
	}
	change()
	return 0
}

func (d *Disk) isOut() bool {
	select {
	case <-d.out:
		return true
	default:
		return false
	}
}

func (d *Disk) nameOf(f *file) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, other := range d.names {
		if other == f {
			return name
		}
	}
	return ""
}

// rename changes the names as a process sees them now, and those on the platter
// later.
func (d *Disk) rename(change func(names map[string]*file)) {
	change(d.names)
	d.late = append(d.late, func() { change(d.kept) })
}
