// Package codec is what payouts, their events and the reports that wait for one look like
// where they are kept, and what is done with one event: the same in every store. It
// keeps nothing itself.
package codec

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
	RowVersion    = 1
	RecordVersion = 2 // of payouts, waiting events, counts, and what the store knows of itself
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encoder appends to a buffer.
type Encoder struct{ B []byte }

// NewEncoder begins a record.
func NewEncoder() *Encoder { return &Encoder{B: append(make([]byte, 0, 256), RecordVersion)} }

// Uint appends a varint; the other methods of its kind append what their names say.
func (e *Encoder) Uint(n uint64) { e.B = binary.AppendUvarint(e.B, n) }

// Int appends a varint with a sign.
func (e *Encoder) Int(n int64) { e.B = binary.AppendVarint(e.B, n) }

// Bytes appends bytes with their number before them.
func (e *Encoder) Bytes(p []byte) {
	e.Uint(uint64(len(p)))
	e.B = append(e.B, p...)
}

// flag is a byte.
func (e *Encoder) flag(set bool) {
	if set {
		e.Uint(1)
		return
	}
	e.Uint(0)
}

// String appends a string with its length before it.
func (e *Encoder) String(s string) {
	e.Uint(uint64(len(s)))
	e.B = append(e.B, s...)
}

// time keeps microseconds, counted from another time that is known.
func (e *Encoder) time(t, from time.Time) { e.Int(t.UnixMicro() - micros(from)) }

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// MaybeTime is a time that may be missing; then it is 0.
func (e *Encoder) MaybeTime(t time.Time) { e.Int(micros(t)) }

func (e *Encoder) tick(t payout.Tick) {
	e.Uint(t.Boot)
	e.Int(int64(t.At))
}

func (e *Encoder) amount(a payout.Amount) {
	e.Int(a.Minor)
	e.String(a.Currency)
}

// Sum finishes the record for a key.
func (e *Encoder) Sum(key []byte) []byte { return e.sumFrom(0, key) }

// sumFrom finishes the record that begins at start.
func (e *Encoder) sumFrom(start int, key []byte) []byte {
	crc := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, e.B[start:])
	e.B = binary.BigEndian.AppendUint32(e.B, crc)
	return e.B[start:len(e.B):len(e.B)]
}

// Decoder reads what an encoder wrote; after the first fault it yields zeros.
type Decoder struct {
	b    []byte
	text string // the same as b, so that its strings share one piece of memory; empty: each has its own
	at   int    // where in it: counting on writes no pointers, and costs half of cutting off
	Bad  bool

	newer bool // it has fields that this masspay does not know
}

// NewDecoder checks the checksum and the version of a record. What does not fit is Bad from
// the beginning.
func NewDecoder(key, value []byte, version byte) Decoder {
	if len(value) < 5 {
		return Decoder{Bad: true}
	}
	body, sum := value[:len(value)-4], binary.BigEndian.Uint32(value[len(value)-4:])
	if crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body) != sum || body[0] != version {
		return Decoder{Bad: true}
	}
	return Decoder{b: body[1:]}
}

// share makes the strings that follow share one piece of memory.
func (d *Decoder) share() { d.text = string(d.b) }

// Left is how many bytes are not read yet.
func (d *Decoder) Left() int { return len(d.b) - d.at }

// next returns the next n bytes, which are there.
func (d *Decoder) next(n int) []byte {
	d.at += n
	return d.b[d.at-n : d.at]
}

// Uint reads a varint; the other methods of its kind read what their names say.
func (d *Decoder) Uint() uint64 {
	if d.at < len(d.b) && d.b[d.at] < 0x80 { // most are small
		d.at++
		return uint64(d.b[d.at-1])
	}
	n, size := binary.Uvarint(d.b[d.at:])
	if size <= 0 {
		d.Fail()
		return 0
	}
	d.at += size
	return n
}

// Int reads a varint with a sign.
func (d *Decoder) Int() int64 {
	n, size := binary.Varint(d.b[d.at:])
	if size <= 0 {
		d.Fail()
		return 0
	}
	d.at += size
	return n
}

// Flag reads a byte that is 0 or 1.
func (d *Decoder) Flag() bool {
	n := d.Uint()
	if n > 1 {
		d.Fail()
	}
	return n == 1
}

// Bytes are only valid while the transaction lives.
func (d *Decoder) Bytes() []byte {
	n := d.Uint()
	if n > uint64(d.Left()) {
		d.Fail()
		return nil
	}
	return d.next(int(n))
}

// Fixed reads bytes that have no length before them.
func (d *Decoder) Fixed(into []byte) {
	if d.Left() < len(into) {
		d.Fail()
		return
	}
	copy(into, d.next(len(into)))
}

// String reads a string with its length before it.
func (d *Decoder) String() string {
	n := d.Uint()
	if n > uint64(d.Left()) {
		d.Fail()
		return ""
	}
	p := d.next(int(n))
	if d.text != "" {
		return d.text[d.at-len(p) : d.at]
	}
	return string(p)
}

// Time reads a time that was counted from another one.
func (d *Decoder) Time(from time.Time) time.Time { return time.UnixMicro(d.Int() + micros(from)).UTC() }

// MaybeTime reads a time that may be missing; then it is zero.
func (d *Decoder) MaybeTime() time.Time {
	n := d.Int()
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// Tick reads a moment on a clock that cannot be set.
func (d *Decoder) Tick() payout.Tick {
	return payout.Tick{Boot: d.Uint(), At: time.Duration(d.Int())}
}

// Padding reads the zeros that a record was given to grow into.
func (d *Decoder) Padding() {
	for d.Left() > 0 {
		n := min(d.Left(), len(zeros))
		if !bytes.Equal(d.next(n), zeros[:n]) {
			d.Fail()
			return
		}
	}
}

var zeros [Grown]byte

// Amount reads an amount.
func (d *Decoder) Amount() payout.Amount {
	return payout.Amount{Minor: d.Int(), Currency: d.String()}
}

// Fail makes the record Bad: whatever is read after it is zero.
func (d *Decoder) Fail() { d.b, d.text, d.at, d.Bad = nil, "", 0, true }

// Done reports a record that is Bad, or was not read to its end, as store.ErrDamaged.
func (d *Decoder) Done(what string, key []byte) error {
	if d.Bad || d.Left() > 0 {
		return fmt.Errorf("%w: %s %x does not match its checksum", store.ErrDamaged, what, key)
	}
	return nil
}

// Summed puts a checksum behind a JSON value.
func Summed(key, value []byte) []byte { return (&Encoder{B: bytes.Clone(value)}).Sum(key) }

// Plain takes it off.
func Plain(what string, key, value []byte) ([]byte, error) {
	if len(value) < 4 || !bytes.Equal(Summed(key, value[:len(value)-4]), value) {
		return nil, fmt.Errorf("%w: %s %x does not match its checksum", store.ErrDamaged, what, key)
	}
	return value[:len(value)-4], nil
}
