package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"masspay/payout"
	"masspay/store"
)

// Records are written as varints and length-prefixed strings, with a version
// byte before and a checksum of key and value behind. A record that does not
// decode to its last byte is damaged, never guessed at.
//
// The version is that of a record's fixed part. What may grow is a block of fields.
const (
	rowVersion    = 1
	recordVersion = 2 // of payouts, waiting events, counts, and what the store knows of itself
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encoder appends to a buffer.
type encoder struct{ b []byte }

func newEncoder() *encoder { return &encoder{b: append(make([]byte, 0, 256), recordVersion)} }

func (e *encoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *encoder) int(n int64) { e.b = binary.AppendVarint(e.b, n) }

func (e *encoder) bytes(p []byte) {
	e.uint(uint64(len(p)))
	e.b = append(e.b, p...)
}

// flag is a byte.
func (e *encoder) flag(set bool) {
	if set {
		e.uint(1)
		return
	}
	e.uint(0)
}

func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

// time keeps microseconds, counted from another time that is known.
func (e *encoder) time(t, from time.Time) { e.int(t.UnixMicro() - micros(from)) }

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// maybeTime is a time that may be missing; then it is 0.
func (e *encoder) maybeTime(t time.Time) { e.int(micros(t)) }

func (e *encoder) tick(t payout.Tick) {
	e.uint(t.Boot)
	e.int(int64(t.At))
}

func (e *encoder) amount(a payout.Amount) {
	e.int(a.Minor)
	e.string(a.Currency)
}

// sum finishes the record for a key.
func (e *encoder) sum(key []byte) []byte { return e.sumFrom(0, key) }

// sumFrom finishes the record that begins at start.
func (e *encoder) sumFrom(start int, key []byte) []byte {
	crc := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, e.b[start:])
	e.b = binary.BigEndian.AppendUint32(e.b, crc)
	return e.b[start:len(e.b):len(e.b)]
}

// decoder reads what an encoder wrote; after the first fault it yields zeros.
type decoder struct {
	b    []byte
	text string // the same as b, so that its strings share one piece of memory; empty: each has its own
	at   int    // where in it: counting on writes no pointers, and costs half of cutting off
	bad  bool

	newer bool // it has fields that this masspay does not know
}

func newDecoder(key, value []byte, version byte) decoder {
	if len(value) < 5 {
		return decoder{bad: true}
	}
	body, sum := value[:len(value)-4], binary.BigEndian.Uint32(value[len(value)-4:])
	if crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body) != sum || body[0] != version {
		return decoder{bad: true}
	}
	return decoder{b: body[1:]}
}

// share makes the strings that follow share one piece of memory.
func (d *decoder) share() { d.text = string(d.b) }

// left is how many bytes are not read yet.
func (d *decoder) left() int { return len(d.b) - d.at }

// next returns the next n bytes, which are there.
func (d *decoder) next(n int) []byte {
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) uint() uint64 {
	if d.at < len(d.b) && d.b[d.at] < 0x80 { // most are small
		d.at++
		return uint64(d.b[d.at-1])
	}
	n, size := binary.Uvarint(d.b[d.at:])
	if size <= 0 {
		d.fail()
		return 0
	}
	d.at += size
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.b[d.at:])
	if size <= 0 {
		d.fail()
		return 0
	}
	d.at += size
	return n
}

func (d *decoder) flag() bool {
	n := d.uint()
	if n > 1 {
		d.fail()
	}
	return n == 1
}

// bytes are only valid while the transaction lives.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(d.left()) {
		d.fail()
		return nil
	}
	return d.next(int(n))
}

// fixed reads bytes that have no length before them.
func (d *decoder) fixed(into []byte) {
	if d.left() < len(into) {
		d.fail()
		return
	}
	copy(into, d.next(len(into)))
}

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(d.left()) {
		d.fail()
		return ""
	}
	p := d.next(int(n))
	if d.text != "" {
		return d.text[d.at-len(p) : d.at]
	}
	return string(p)
}

func (d *decoder) time(from time.Time) time.Time { return time.UnixMicro(d.int() + micros(from)).UTC() }

func (d *decoder) maybeTime() time.Time {
	n := d.int()
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func (d *decoder) tick() payout.Tick {
	return payout.Tick{Boot: d.uint(), At: time.Duration(d.int())}
}

// padding reads the zeros that a record was given to grow into.
func (d *decoder) padding() {
	for d.left() > 0 {
		n := min(d.left(), len(zeros))
		if !bytes.Equal(d.next(n), zeros[:n]) {
			d.fail()
			return
		}
	}
}

var zeros [grown]byte

func (d *decoder) amount() payout.Amount {
	return payout.Amount{Minor: d.int(), Currency: d.string()}
}

func (d *decoder) fail() { d.b, d.text, d.at, d.bad = nil, "", 0, true }

func (d *decoder) done(what string, key []byte) error {
	if d.bad || d.left() > 0 {
		return fmt.Errorf("%w: %s %x does not match its checksum", store.ErrDamaged, what, key)
	}
	return nil
}

// summed puts a checksum behind a JSON value.
func summed(key, value []byte) []byte { return (&encoder{b: bytes.Clone(value)}).sum(key) }

// plain takes it off.
func plain(what string, key, value []byte) ([]byte, error) {
	if len(value) < 4 || !bytes.Equal(summed(key, value[:len(value)-4]), value) {
		return nil, fmt.Errorf("%w: %s %x does not match its checksum", store.ErrDamaged, what, key)
	}
	return value[:len(value)-4], nil
}
