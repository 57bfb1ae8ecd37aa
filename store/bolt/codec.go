package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
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
func (e *encoder) int(n int64)   { e.b = binary.AppendVarint(e.b, n) }
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
// claim, an acceptance, a verdict. Twenty-three such records fill a page.
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

// A payout keeps so many of its first and its last events, and all that a person, a
// reversal or a second payment brought. What a store has more of is thinned out now
// and then.
const (
	keptFirst = 16
	keptLast  = 16
	thinAt    = 48
)

// withEvent appends an event to those of a payout, which is as it was before it.
func (r *record) withEvent(ev *payout.Event) {
	e := encoder{b: make([]byte, 0, 128)}
	e.event(ev, r.Host, r.Amount)
	var size [binary.MaxVarintLen64]byte
	var all strings.Builder
	all.Grow(len(r.events) + len(e.b) + 2)
	all.WriteString(r.events)
	all.Write(binary.AppendUvarint(size[:0], uint64(len(e.b))))
	all.Write(e.b)
	r.events = all.String()
	r.Events++
}

// thin leaves out events from the middle when there are many.
func (r *record) thin() error {
	if r.Events < thinAt {
		return nil
	}
	events, err := r.history()
	if err != nil {
		return err
	}
	dropped := 0
	last := len(events) - keptLast
	gate := -1 // the event that named the payout's gate: later events count on it
	for i, ev := range events {
		if setsHost(ev.Kind) {
			gate = i
		}
	}
	thinned := record{Payout: payout.Payout{Key: r.Key, Amount: r.Amount}}
	for i, ev := range events {
		if i >= keptFirst && i < last && i != gate && !lasting(ev) {
			dropped++
			continue
		}
		thinned.withEvent(&ev)
		if setsHost(ev.Kind) {
			thinned.Host = ev.Host
		}
	}
	r.events, r.Events, r.old = thinned.events, thinned.Events, r.old || dropped > 0
	r.Dropped += dropped
	return nil
}

// lasting reports whether an event is kept for ever.
func lasting(ev payout.Event) bool {
	return ev.Conflict || ev.Kind == payout.Resolved || ev.Kind == payout.Unlisted || ev.Outcome == payout.StateReturned
}

// history decodes the events of a payout that are kept.
func (r *record) history() ([]payout.Event, error) {
	return readHistory(r, func(d *decoder, gate string) payout.Event { return d.event(gate, r.Amount) })
}

func readHistory(r *record, read func(d *decoder, gate string) payout.Event) ([]payout.Event, error) {
	d := decoder{b: []byte(r.events), text: r.events}
	events := make([]payout.Event, 0, min(r.Events, len(r.events)))
	gate := ""
	for d.left() > 0 {
		one := decoder{b: d.bytes()}
		ev := read(&one, gate)
		if d.bad || one.bad || one.left() > 0 || !ev.Kind.Valid() {
			return nil, fmt.Errorf("%w: event %d of payout number %d cannot be read", store.ErrDamaged, len(events)+1, r.Number)
		}
		if setsHost(ev.Kind) {
			gate = ev.Host
		}
		ev.Key = r.Key
		events = append(events, ev)
	}
	if len(events) != r.Events {
		return nil, fmt.Errorf("%w: payout number %d has %d events, want %d", store.ErrDamaged, r.Number, len(events), r.Events)
	}
	return events, nil
}

// setsHost reports whether an event's host becomes the payout's. Next says so;
// Examine replays what is decoded with it.
func setsHost(k payout.Kind) bool { return k == payout.Claimed || k == payout.Suspected }

// event writes an event of a payout.
func (e *encoder) event(ev *payout.Event, gate string, asked payout.Amount) {
	e.uint(uint64(ev.Kind))
	e.uint(uint64(ev.Source))
	e.maybeTime(ev.At)
	v := e.begin(eventMask)
	eventFields(&v, ev, gate, asked)
	v.end()
}

func (d *decoder) event(gate string, asked payout.Amount) (ev payout.Event) {
	ev.Kind = payout.Kind(d.uint())
	ev.Source = payout.Source(d.uint())
	ev.At = d.maybeTime()
	var of decoder
	v := d.begin(&of)
	eventFields(&v, &ev, gate, asked)
	v.endIn(d)
	return ev
}

// An event that waits for its payout stands by itself, with its key and, sealed,
// with what it says of the customer.
func encodeEarly(key []byte, ev payout.Event, sealed []byte) []byte {
	e := newEncoder()
	e.uint(uint64(ev.Key.ProjectID))
	e.string(ev.Key.PaymentID)
	ev.Message = "" // sealed
	e.event(&ev, "", payout.Amount{})
	e.bytes(sealed)
	return e.sum(key)
}

func decodeEarly(key, value []byte) (ev payout.Event, sealed []byte, err error) {
	d := newDecoder(key, value, recordVersion)
	k := payout.Key{ProjectID: uint32(d.uint()), PaymentID: d.string()}
	ev = d.event("", payout.Amount{})
	ev.Key = k
	sealed = d.bytes()
	if !d.bad && !ev.Kind.Valid() {
		d.fail()
	}
	return ev, sealed, d.done("event", key)
}

// line is a row of a batch as the store keeps it.
type line struct {
	payout uint64 // 0: skipped
	line   uint64 // physical line in the file
	skip   string
	sealed []byte
}

func (l line) encode(key []byte) []byte {
	e := encoder{b: append(make([]byte, 0, 40+len(l.skip)+len(l.sealed)), rowVersion)}
	e.uint(l.payout)
	e.uint(l.line)
	e.string(l.skip)
	e.bytes(l.sealed)
	return e.sum(key)
}

func decodeLine(key, value []byte) (line, error) {
	d := newDecoder(key, value, rowVersion)
	l := line{payout: d.uint(), line: d.uint(), skip: d.string(), sealed: d.bytes()}
	return l, d.done("row", key)
}

// progress is what is kept of a batch as it goes: how far claiming has come,
// and the counts.
type progress struct {
	changed time.Time // when a payout of it last changed; zero: not since it was loaded
	touched bool      // in this transaction
	cursor  uint32    // rows before it have been claimed, or were not claimable
	hold    *store.Hold
	counts  map[countKey]tally
}

type countKey struct {
	state    payout.State
	currency string
}

type tally struct {
	n     int64
	minor int64
	check int64
	aside int64 // minor units of what is to be checked
	stuck int64 // open, and only a person can settle them
}

func (p *progress) add(q *payout.Payout, by int64) {
	k := countKey{q.State, q.Amount.Currency}
	c := p.counts[k]
	c.n += by
	c.minor += by * q.Amount.Minor
	if q.NeedsCheck() {
		c.check += by
		c.aside += by * q.Amount.Minor
	}
	if q.Stuck() {
		c.stuck += by
	}
	if c == (tally{}) {
		delete(p.counts, k)
		return
	}
	p.counts[k] = c
}

func (p *progress) encode(key []byte) []byte {
	e := newEncoder()
	e.uint(uint64(p.cursor))
	e.uint(uint64(len(p.counts)))
	for _, c := range p.sorted() {
		e.uint(uint64(c.State))
		e.string(c.Amount.Currency)
		e.int(int64(c.N))
		e.int(c.Amount.Minor)
		e.int(int64(c.Check))
		e.int(c.Minor)
		e.int(int64(c.Stuck))
	}
	if !p.changed.IsZero() || p.hold != nil {
		e.maybeTime(p.changed)
	}
	if p.hold != nil {
		text, _ := json.Marshal(p.hold) // four plain fields
		e.bytes(text)
	}
	return e.sum(key)
}

func decodeProgress(key, value []byte) (*progress, error) {
	d := newDecoder(key, value, recordVersion)
	p := &progress{cursor: uint32(d.uint()), counts: map[countKey]tally{}}
	for n := d.uint(); n > 0 && !d.bad; n-- {
		k := countKey{payout.State(d.uint()), d.string()}
		p.counts[k] = tally{n: d.int(), minor: d.int(), check: d.int(), aside: d.int(), stuck: d.int()}
	}
	if d.left() > 0 { // older records end here
		p.changed = d.maybeTime()
	}
	if d.left() > 0 {
		if err := json.Unmarshal(d.bytes(), &p.hold); err != nil {
			d.fail()
		}
	}
	return p, d.done("counts of batch", key)
}
