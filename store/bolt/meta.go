package bolt

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"time"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

// metaFormat and metaReadable are keys of their own, so that every masspay can read
// them; metaState holds the rest under one checksum, so that no part of it can get
// lost alone.
var (
	metaFormat    = []byte("format")
	metaReadable  = []byte("readable_by")
	metaKeepFor   = []byte("keep_for")  // the longest for which a load kept accounts, in nanoseconds
	metaMigrating = []byte("migrating") // the format before a migration that is not through
	metaState     = []byte("state")
)

// meta is what a store knows of itself.
type meta struct {
	check      [16]byte  // of the key
	generation uint64    // rises with every claim
	claimed    time.Time // when it last rose by a claim
	epoch      uint64    // of the restore that is not yet trusted; 0: none
	copied     time.Time // with epoch: the last claim that the copy knew of
	next       uint64    // payout number of the next payout
	nextBatch  uint32    // number of the next batch
	loading    uint32    // number of the batch that is being loaded; 0: none
	first      uint64    // payout number that the load began with

	locks       [16]byte // identity of the lock files that go with it
	locksBefore [16]byte // the one before, while the files are written; zero: they are
	machine     uint64   // where it was made, or last declared to be at home; 0: not known
	device      uint64   // the same of its file
	inode       uint64
	aliases     []string // gates that were declared to be one platform
}

// settle notes where the store is at home, and gives it new lock files.
func (m *meta) settle(path string) error {
	device, inode, err := fileOf(path)
	if err != nil {
		return err
	}
	m.machine, m.device, m.inode = clock.Machine(), device, inode
	m.locksBefore = m.locks
	_, _ = rand.Read(m.locks[:]) // never fails, by its contract
	return nil
}

// fileOf is what a file system knows a file by; 0: not known.
func fileOf(path string) (device, inode uint64, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		device, inode = uint64(sys.Dev), uint64(sys.Ino) //nolint:unconvert // not the same type everywhere
	}
	return device, inode, nil
}

// elsewhere reports whether the store is not where it was at home: a copy. On the
// machine that is known the file must be the same, but for the device, which may get
// another number when the machine is started; where the machine is not known, the
// device must be the same too.
func (m *meta) elsewhere(path string) bool {
	known := m.machine != 0 && clock.Machine() != 0
	if known && m.machine != clock.Machine() {
		return true
	}
	device, inode, err := fileOf(path)
	if m.inode == 0 || err != nil || inode == 0 {
		return false
	}
	return inode != m.inode || !known && device != m.device
}

func readMeta(tx *bbolt.Tx) (m meta, err error) {
	d := codec.NewDecoder(metaState, tx.Bucket(bucketMeta).Get(metaState), codec.RecordVersion)
	d.Fixed(m.check[:])
	m.generation, m.epoch, m.next = d.Uint(), d.Uint(), d.Uint()
	m.nextBatch, m.loading, m.first = uint32(d.Uint()), uint32(d.Uint()), d.Uint()
	m.claimed, m.copied = d.MaybeTime(), d.MaybeTime()
	var of codec.Decoder
	v := d.Begin(&of)
	metaFields(&v, &m)
	v.EndIn(&d)
	return m, d.Done("what the store knows of itself,", metaState)
}

func (m meta) write(tx *bbolt.Tx) error {
	e := codec.NewEncoder()
	e.B = append(e.B, m.check[:]...)
	e.Uint(m.generation)
	e.Uint(m.epoch)
	e.Uint(m.next)
	e.Uint(uint64(m.nextBatch))
	e.Uint(uint64(m.loading))
	e.Uint(m.first)
	e.MaybeTime(m.claimed)
	e.MaybeTime(m.copied)
	v := e.Begin(metaMask)
	metaFields(&v, &m)
	v.End()
	return tx.Bucket(bucketMeta).Put(metaState, e.Sum(metaState))
}

// changeMeta reads, changes and writes what the store knows of itself.
func changeMeta(tx *bbolt.Tx, change func(*meta)) error {
	m, err := readMeta(tx)
	if err != nil {
		return err
	}
	change(&m)
	return m.write(tx)
}

// An index entry is a number with a checksum of key and number: a flipped bit
// must not lead to another payout, or make an id look new.
func indexEntry(key []byte, n uint64) []byte {
	return (&codec.Encoder{B: binary.BigEndian.AppendUint64(make([]byte, 0, 12), n)}).Sum(key)
}

func readIndex(key, value []byte) (uint64, error) {
	if len(value) != 12 || string(indexEntry(key, binary.BigEndian.Uint64(value))) != string(value) {
		return 0, fmt.Errorf("%w: index entry %x does not match its checksum", store.ErrDamaged, key)
	}
	return binary.BigEndian.Uint64(value), nil
}

// lookID returns the payout number that an id leads to, or 0.
func lookID(tx *bbolt.Tx, id payout.Digest) (uint64, error) {
	v := tx.Bucket(bucketIDs).Get(id[:])
	if v == nil {
		return 0, nil
	}
	return readIndex(id[:], v)
}

var metaMask = codec.MaskOf(codec.NamesOf(func(v *codec.Fields) { metaFields(v, &meta{}) }))

// metaFields is what was added to what a store knows of itself.
func metaFields(v *codec.Fields, m *meta) {
	v.Digest("locks", &m.locks)
	v.Digest("locks before", &m.locksBefore)
	codec.Count(v, "machine", &m.machine)
	codec.Count(v, "device", &m.device)
	codec.Count(v, "inode", &m.inode)
	v.Texts("aliases", &m.aliases)
}
