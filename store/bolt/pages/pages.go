// Package pages reads the pages of a bbolt file as bytes and trusts none of them. bbolt
// sums its two header pages and trusts all others: a flipped bit that hides a page, or
// leads to an old one, would make what was paid look unsent. bbolt's own Tx.Check is no
// help, because it dies of what it should find. The layout is that of bbolt's file format
// version 2; nothing of bbolt is imported.
package pages

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

const (
	pageHeader  = 16 // id, flags, count, overflow
	elementSize = 16
	metaSize    = 64

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	bucketElement = 0x01
	noFreelist    = ^uint64(0)
	boltMagic     = 0xED0CDAED
	boltVersion   = 2
)

// order is that of the machine, as bbolt writes it.
var order = binary.NativeEndian

// inspection is a store's file under inspection.
type inspection struct {
	file     io.ReaderAt
	size     int64
	pageSize int
	high     uint64 // pages in use, by the header
	root     uint64
	freelist uint64
	seen     []bool
	half     bool // only one of the two header pages is whole
	fault    func(format string, args ...any)
	entry    func(bucket string, key, value []byte)
}

// Inspect reads every page of a file that no one writes meanwhile. It tells
// fault what is wrong with the pages, and entry of every key and value that it
// can reach. Both are called from this goroutine. half says that one of the two
// header pages is damaged: the other one leads to the store as it was one commit
// earlier, which is whole as well; if that was a claim, the marker knows.
func Inspect(file io.ReaderAt, size int64, fault func(format string, args ...any), entry func(bucket string, key, value []byte)) (half bool) {
	p := &inspection{file: file, size: size, fault: fault, entry: entry}
	if !p.header() {
		return false
	}
	p.seen = make([]bool, p.high)
	p.seen[0], p.seen[1] = true, true
	free := p.free()
	p.tree(p.root, "", nil, nil, 0)
	for id, seen := range p.seen {
		if seen == free[uint64(id)] {
			what := "is neither used nor free"
			if seen {
				what = "is used and free"
			}
			p.fault("page %d %s", id, what)
		}
	}
	return p.half
}

// header finds the newer of the two header pages that are whole.
func (p *inspection) header() bool {
	newest, good := uint64(0), 0
	// The second header's place depends on the page size, which is in both.
	places := []int64{0, 512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10}
	for _, at := range places {
		m := make([]byte, metaSize)
		if _, err := p.file.ReadAt(m, at+pageHeader); err != nil || at > 0 && int64(order.Uint32(m[8:])) != at {
			continue
		}
		h := fnv.New64a()
		_, _ = h.Write(m[:56])
		if order.Uint32(m) != boltMagic || order.Uint32(m[4:]) != boltVersion || order.Uint64(m[56:]) != h.Sum64() {
			continue
		}
		good++
		if tx := order.Uint64(m[48:]); good == 1 || tx > newest {
			newest = tx
			p.pageSize = int(order.Uint32(m[8:]))
			p.root, p.freelist, p.high = order.Uint64(m[16:]), order.Uint64(m[32:]), order.Uint64(m[40:])
		}
	}
	switch {
	case good == 0:
		p.fault("both header pages are damaged")
		return false
	case p.pageSize < 512 || int64(p.high) < 2 || int64(p.high) > p.size/int64(p.pageSize):
		p.fault("the file has %d bytes, and should have %d pages of %d", p.size, p.high, p.pageSize)
		return false
	}
	p.half = good == 1
	return true
}

// read returns a page with all that overflows of it, and notes that it is used.
func (p *inspection) read(id uint64) ([]byte, bool) {
	if id < 2 || id >= p.high {
		p.fault("page %d does not exist", id)
		return nil, false
	}
	head := make([]byte, pageHeader)
	at := int64(id) * int64(p.pageSize)
	if _, err := p.file.ReadAt(head, at); err != nil {
		p.fault("page %d cannot be read: %v", id, err)
		return nil, false
	}
	over := uint64(order.Uint32(head[12:]))
	if order.Uint64(head) != id || over >= p.high-id {
		p.fault("page %d says that it is page %d, with %d more", id, order.Uint64(head), over)
		return nil, false
	}
	for i := id; i <= id+over; i++ {
		if p.seen[i] {
			p.fault("page %d is used twice", i)
			return nil, false
		}
		p.seen[i] = true
	}
	b := make([]byte, (int(over)+1)*p.pageSize)
	if _, err := p.file.ReadAt(b, at); err != nil {
		p.fault("page %d cannot be read: %v", id, err)
		return nil, false
	}
	return b, true
}

// free returns the pages that hold nothing.
func (p *inspection) free() map[uint64]bool {
	free := map[uint64]bool{}
	if p.freelist == noFreelist {
		return free
	}
	b, ok := p.read(p.freelist)
	if !ok {
		return free
	}
	n, list := uint64(order.Uint16(b[10:])), b[pageHeader:]
	if n == 0xFFFF {
		n, list = order.Uint64(list), list[8:]
	}
	if order.Uint16(b[8:]) != freelistPage || n > uint64(len(list)/8) {
		p.fault("page %d is no list of free pages", p.freelist)
		return free
	}
	for i := range n {
		id := order.Uint64(list[i*8:])
		if id >= p.high || free[id] {
			p.fault("page %d is free twice, or does not exist", id)
		}
		free[id] = true
	}
	return free
}

// element is one entry of a page.
type element struct {
	flags      uint32
	key, value []byte
	page       uint64
}

// elements cuts a page into its entries. What bbolt writes lies without gaps,
// so that an entry that is hidden by a wrong count shows.
func (p *inspection) elements(b []byte, name string) ([]element, bool) {
	kind, n := order.Uint16(b[8:]), int(order.Uint16(b[10:]))
	if kind != leafPage && kind != branchPage || pageHeader+n*elementSize > len(b) {
		p.fault("%s is of no known kind", name)
		return nil, false
	}
	out := make([]element, n)
	next := pageHeader + n*elementSize
	for i := range out {
		at := pageHeader + i*elementSize
		e := b[at : at+elementSize]
		var pos, keys, values int
		if kind == leafPage {
			out[i].flags = order.Uint32(e)
			pos, keys, values = int(order.Uint32(e[4:])), int(order.Uint32(e[8:])), int(order.Uint32(e[12:]))
		} else {
			pos, keys = int(order.Uint32(e)), int(order.Uint32(e[4:]))
			out[i].page = order.Uint64(e[8:])
		}
		if at+pos != next || keys > len(b)-next || values > len(b)-next-keys {
			p.fault("%s: entry %d is not where it should be", name, i)
			return nil, false
		}
		out[i].key, out[i].value = b[next:next+keys], b[next+keys:next+keys+values]
		next += keys + values
	}
	return out, true
}

// tree walks a tree of pages. Keys must rise, from low on, and stay below high.
func (p *inspection) tree(id uint64, bucket string, low, high []byte, depth int) {
	b, ok := p.read(id)
	if !ok {
		return
	}
	if depth > 64 {
		p.fault("page %d: the tree does not end", id)
		return
	}
	name := fmt.Sprintf("page %d", id)
	list, ok := p.elements(b, name)
	if !ok || !p.sorted(list, name, low, high) {
		return
	}
	if order.Uint16(b[8:]) == leafPage {
		p.leaf(list, bucket)
		return
	}
	for i, e := range list {
		end := high
		if i+1 < len(list) {
			end = list[i+1].key
		}
		p.tree(e.page, bucket, e.key, end, depth+1)
	}
}

func (p *inspection) sorted(list []element, name string, low, high []byte) bool {
	for i, e := range list {
		if i > 0 && bytes.Compare(list[i-1].key, e.key) >= 0 || bytes.Compare(e.key, low) < 0 || high != nil && bytes.Compare(e.key, high) >= 0 {
			p.fault("%s: entry %d is out of order", name, i)
			return false
		}
	}
	return true
}

// leaf hands out entries, and goes into buckets.
func (p *inspection) leaf(list []element, bucket string) {
	for _, e := range list {
		switch {
		case e.flags > bucketElement:
			p.fault("entry %x of bucket %q is of no known kind", e.key, bucket)
		case e.flags != bucketElement:
			p.entry(bucket, e.key, e.value)
		case len(e.value) < 16 || bucket != "":
			p.fault("bucket %q is cut short", e.key)
		case order.Uint64(e.value) != 0:
			p.tree(order.Uint64(e.value), string(e.key), nil, nil, 0)
		case len(e.value) < 16+pageHeader:
			p.fault("bucket %q is cut short", e.key)
		default: // a small bucket lies within its parent's page
			name, page := fmt.Sprintf("bucket %q", e.key), e.value[16:]
			if order.Uint64(page) != 0 || order.Uint16(page[8:]) != leafPage || order.Uint32(page[12:]) != 0 {
				p.fault("%s is of no known kind", name)
				continue
			}
			if inner, ok := p.elements(page, name); ok && p.sorted(inner, name, nil, nil) {
				p.leaf(inner, string(e.key))
			}
		}
	}
}
