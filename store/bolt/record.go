package bolt

import (
	"masspay/payout"
)

// record is a payout as the store keeps it.
type record struct {
	payout.Payout
	prev   uint64 // the payout that had the same id before and was cancelled, 0 for none
	events string // those that are kept, encoded, each with its length before it
	old    bool   // some of its events were written before the rules changed, or are left out: they cannot be replayed
	newer  bool   // it has fields that this masspay does not know, and must not be written
	room   int    // bytes that the record takes at the least: one that grows would split its page
}

// size is about what a payout takes that was never attempted.
func (r *record) size() int {
	return 64 + len(r.Key.PaymentID) + len(r.Method) + len(r.Amount.Currency) + len(r.Masked)
}

// grown is how many bytes a payout and its events grow by in a normal life: a
// claim, an acceptance, an outcome. Twenty-three such records fill a page.
const grown = 256

func (r *record) encode(key []byte) []byte { return r.append(newEncoder(), key) }

func (r *record) append(e *encoder, key []byte) []byte {
	start := len(e.b) - 1
	p := &r.Payout
	e.uint(uint64(p.Key.ProjectID))
	e.string(p.Key.PaymentID)
	e.string(p.Method)
	e.amount(p.Amount)
	e.string(p.Masked)
	e.b = append(e.b, p.Content[:]...)
	e.uint(r.prev)
	e.uint(uint64(len(p.Places)))
	for _, at := range p.Places {
		e.uint(uint64(at.Batch))
		e.uint(uint64(at.Index))
	}
	e.uint(uint64(p.State))
	v := e.begin(lifeMask)
	life(&v, p)
	v.end()
	e.uint(uint64(p.Events))
	e.flag(r.old)
	e.string(r.events)
	for short := r.room - 4 - (len(e.b) - start); short > 0; short = r.room - 4 - (len(e.b) - start) {
		e.b = append(e.b, zeros[:min(short, len(zeros))]...)
	}
	return e.sumFrom(start, key)
}

func decodeRecord(key, value []byte) (record, error) {
	d := newDecoder(key, value, recordVersion)
	d.share()
	r := record{room: len(value)}
	p := &r.Payout
	d.identity(&r, key)
	p.State = payout.State(d.uint())
	var of decoder
	v := d.begin(&of)
	life(&v, p)
	v.endIn(&d)
	p.Events = int(d.uint())
	r.old = d.flag()
	r.events = d.string()
	d.padding()
	r.newer = d.newer
	if !d.bad && !p.State.Valid() {
		d.fail()
	}
	return r, d.done("payout", key)
}

// identity reads what a record begins with, in every format: which payout it is, and where
// it stands.
func (d *decoder) identity(r *record, key []byte) {
	p := &r.Payout
	p.Number = number(key)
	p.Key = payout.Key{ProjectID: uint32(d.uint()), PaymentID: d.string()}
	p.Method = d.string()
	p.Amount = d.amount()
	p.Masked = d.string()
	d.fixed(p.Content[:])
	r.prev = d.uint()
	if n := d.uint(); n <= uint64(d.left()) {
		p.Places = make([]payout.Place, 0, n)
		for ; n > 0 && !d.bad; n-- {
			p.Places = append(p.Places, payout.Place{Batch: uint32(d.uint()), Index: uint32(d.uint())})
		}
	}
}

// full is the payout as callers see it.
func (r *record) full(events bool) (rec payout.History, err error) {
	rec.Payout = r.Payout
	if events {
		rec.Events, err = r.history()
	}
	return rec, err
}
