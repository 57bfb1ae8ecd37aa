package codec

import (
	"time"

	"masspay/payout"
)

// Fields goes over the optional fields of a record: one list of fields writes them
// and reads them back, so that the two cannot come to differ. A field that has its
// zero value takes one bit.
//
// Evolution: fields are only ever appended to a list, never moved, removed or given
// another meaning (TestFieldsAreOnlyAppended), and whoever appends one raises format.
// A record that was written before a field existed has no bit for it, and it reads
// as zero. A bit that this masspay does not know is a newer one's: what it means
// is passed over, and the record is not written again.
type Fields struct {
	e     *Encoder  // writes; nil: reads
	d     *Decoder  // reads
	names *[]string // neither: the names are listed
	mask  int       // where it begins: in the encoder's buffer
	bits  []byte    // the mask that was read
	next  int       // number of the next field
}

// A block of fields is its length in three bytes, the size of its mask in one, the
// mask, and the fields that are there.
const blockHead = 3 + 1

// NamesOf lists the fields that a function goes over.
func NamesOf(visit func(v *Fields)) (names []string) {
	visit(&Fields{names: &names})
	return names
}

// MaskOf is the size of a mask for so many fields: it cannot overflow, because it is
// made for the list that it is used with.
func MaskOf(names []string) int { return (len(names) + 7) / 8 }

// Begin begins a block with a mask of so many bytes.
func (e *Encoder) Begin(mask int) Fields {
	v := Fields{e: e, mask: len(e.B) + blockHead}
	e.B = append(e.B, 0, 0, 0, byte(mask))
	e.B = append(e.B, zeros[:mask]...)
	return v
}

// End finishes a block.
func (v *Fields) End() {
	n := len(v.e.B) - (v.mask - blockHead) - 3
	head := v.e.B[v.mask-blockHead:]
	head[0], head[1], head[2] = byte(n>>16), byte(n>>8), byte(n)
}

// Begin begins to read a block. The fields are read by a decoder of their own, which
// ends with the block.
func (d *Decoder) Begin(of *Decoder) Fields {
	var head [3]byte
	d.Fixed(head[:])
	n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if n > d.Left() {
		d.Fail()
		n = 0
	}
	*of = Decoder{b: d.b[:d.at+n], text: d.text, at: d.at, Bad: d.Bad}
	d.at += n
	var size [1]byte
	of.Fixed(size[:])
	if int(size[0]) > of.Left() {
		of.Fail()
		size[0] = 0
	}
	return Fields{d: of, bits: of.next(int(size[0]))}
}

// EndIn makes sure that the block was read whole, and tells the decoder around it.
func (v *Fields) EndIn(around *Decoder) {
	unknown := false
	for n := v.next; n < 8*len(v.bits); n++ {
		unknown = unknown || v.bits[n/8]>>(n%8)&1 == 1
	}
	around.newer = around.newer || unknown
	if v.d.Bad || !unknown && v.d.Left() > 0 {
		around.Fail()
	}
}

// has notes whether the next field is there, and says so.
func (v *Fields) has(name string, there bool) bool {
	n := v.next
	v.next++
	switch {
	case v.e != nil:
		if there {
			v.e.B[v.mask+n>>3] |= 1 << (n & 7)
		}
		return there
	case v.d != nil:
		return n>>3 < len(v.bits) && v.bits[n>>3]>>(n&7)&1 == 1
	}
	*v.names = append(*v.names, name)
	return false
}

func (v *Fields) flag(name string, p *bool) { *p = v.has(name, *p) }

// Count is a field that is no number below zero.
func Count[T ~int | ~uint8 | ~uint16 | ~uint32 | ~uint64](v *Fields, name string, p *T) {
	if !v.has(name, *p != 0) {
		return
	}
	if v.e != nil {
		v.e.Uint(uint64(*p))
		return
	}
	*p = T(v.d.Uint())
}

func (v *Fields) text(name string, p *string) {
	if !v.has(name, *p != "") {
		return
	}
	if v.e != nil {
		v.e.String(*p)
		return
	}
	*p = v.d.String()
}

// textLike is a text that is mostly like another that is known.
func (v *Fields) textLike(name string, p *string, known string) {
	if v.has(name, *p == known) {
		*p = known
		return
	}
	switch {
	case v.e != nil:
		v.e.String(*p)
	case v.d != nil:
		*p = v.d.String()
	}
}

// time is counted from another that is known.
func (v *Fields) time(name string, p *time.Time, from time.Time) {
	if !v.has(name, !p.IsZero()) {
		return
	}
	if v.e != nil {
		v.e.time(*p, from)
		return
	}
	*p = v.d.Time(from)
}

func (v *Fields) tick(name string, p *payout.Tick) {
	if !v.has(name, *p != payout.Tick{}) {
		return
	}
	if v.e != nil {
		v.e.tick(*p)
		return
	}
	*p = v.d.Tick()
}

// amountLike is an amount that is mostly the one that was asked for: two fields.
func (v *Fields) amountLike(asAsked, name string, p *payout.Amount, asked payout.Amount) {
	if v.has(asAsked, *p == asked && asked != payout.Amount{}) {
		*p = asked
	}
	if !v.has(name, *p != payout.Amount{} && *p != asked) {
		return
	}
	if v.e != nil {
		v.e.amount(*p)
		return
	}
	*p = v.d.Amount()
}
