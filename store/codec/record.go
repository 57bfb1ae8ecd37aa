package codec

import (
	"encoding/binary"

	"masspay/payout"
)

// Record is a payout as the store keeps it.
type Record struct {
	payout.Payout
	Prev  uint64 // the payout that had the same id before and was cancelled, 0 for none
	Log   string // those that are kept, encoded, each with its length before it
	Old   bool   // some of its events were written before the rules changed, or are left out: they cannot be replayed
	Newer bool   // it has fields that this masspay does not know, and must not be written
	Room  int    // bytes that the record takes at the least: one that grows would split its page
}

// Size is about what a payout takes that was never attempted.
func (r *Record) Size() int {
	return 64 + len(r.Key.PaymentID) + len(r.Method) + len(r.Amount.Currency) + len(r.Masked)
}

// Grown is how many bytes a payout and its events grow by in a normal life: a
// claim, an acceptance, an outcome. Twenty-three such records fill a page.
const Grown = 256

// Encode makes the bytes that are kept under a key.
func (r *Record) Encode(key []byte) []byte { return r.Append(NewEncoder(), key) }

// Append appends what Encode makes to what an encoder has begun.
func (r *Record) Append(e *Encoder, key []byte) []byte {
	start := len(e.B) - 1
	p := &r.Payout
	e.Uint(uint64(p.Key.ProjectID))
	e.String(p.Key.PaymentID)
	e.String(p.Method)
	e.amount(p.Amount)
	e.String(p.Masked)
	e.B = append(e.B, p.Content[:]...)
	e.Uint(r.Prev)
	e.Uint(uint64(len(p.Places)))
	for _, at := range p.Places {
		e.Uint(uint64(at.Batch))
		e.Uint(uint64(at.Index))
	}
	e.Uint(uint64(p.State))
	v := e.Begin(lifeMask)
	life(&v, p)
	v.End()
	e.Uint(uint64(p.Events))
	e.flag(r.Old)
	e.String(r.Log)
	for short := r.Room - 4 - (len(e.B) - start); short > 0; short = r.Room - 4 - (len(e.B) - start) {
		e.B = append(e.B, zeros[:min(short, len(zeros))]...)
	}
	return e.sumFrom(start, key)
}

// DecodeRecord reads what Encode made. Anything else is store.ErrDamaged.
func DecodeRecord(key, value []byte) (Record, error) {
	d := NewDecoder(key, value, RecordVersion)
	d.share()
	r := Record{Room: len(value)}
	p := &r.Payout
	d.Identity(&r, key)
	p.State = payout.State(d.Uint())
	var of Decoder
	v := d.Begin(&of)
	life(&v, p)
	v.EndIn(&d)
	p.Events = int(d.Uint())
	r.Old = d.Flag()
	r.Log = d.String()
	d.Padding()
	r.Newer = d.newer
	if !d.Bad && !p.State.Valid() {
		d.Fail()
	}
	return r, d.Done("payout", key)
}

// Identity reads what a record begins with, in every format: which payout it is, and where
// it stands.
func (d *Decoder) Identity(r *Record, key []byte) {
	p := &r.Payout
	if len(key) == 8 {
		p.Number = binary.BigEndian.Uint64(key)
	}
	p.Key = payout.Key{ProjectID: uint32(d.Uint()), PaymentID: d.String()}
	p.Method = d.String()
	p.Amount = d.Amount()
	p.Masked = d.String()
	d.Fixed(p.Content[:])
	r.Prev = d.Uint()
	if n := d.Uint(); n <= uint64(d.Left()) {
		p.Places = make([]payout.Place, 0, n)
		for ; n > 0 && !d.Bad; n-- {
			p.Places = append(p.Places, payout.Place{Batch: uint32(d.Uint()), Index: uint32(d.Uint())})
		}
	}
}

// Full is the payout as callers see it.
func (r *Record) Full(events bool) (rec payout.History, err error) {
	rec.Payout = r.Payout
	if events {
		rec.Events, err = r.History()
	}
	return rec, err
}
