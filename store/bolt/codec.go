package bolt

import (
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

const recordVersion = 1

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

func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

// time keeps microseconds; the zero time is 0.
func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.int(0)
		return
	}
	e.int(t.UnixMicro())
}

// tick is one byte when there is none.
func (e *encoder) tick(t payout.Tick) {
	e.uint(t.Boot)
	if t.Boot != 0 {
		e.int(int64(t.At))
	}
}

func (e *encoder) amount(a payout.Amount) {
	e.int(a.Minor)
	e.string(a.Currency)
}

// sum finishes the record for a key.
func (e *encoder) sum(key []byte) []byte {
	crc := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, e.b)
	return binary.BigEndian.AppendUint32(e.b, crc)
}

// decoder reads what an encoder wrote; after the first fault it yields zeros.
type decoder struct {
	b   []byte
	bad bool
}

func newDecoder(key, value []byte) *decoder {
	if len(value) < 5 {
		return &decoder{bad: true}
	}
	body, sum := value[:len(value)-4], binary.BigEndian.Uint32(value[len(value)-4:])
	if crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body) != sum || body[0] != recordVersion {
		return &decoder{bad: true}
	}
	return &decoder{b: body[1:]}
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

// bytes are only valid while the transaction lives.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

// fixed reads bytes that have no length before them.
func (d *decoder) fixed(into []byte) {
	if len(d.b) < len(into) {
		d.fail()
		return
	}
	d.b = d.b[copy(into, d.b):]
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) bool() bool {
	if len(d.b) == 0 {
		d.fail()
		return false
	}
	v := d.b[0] == 1
	d.b = d.b[1:]
	return v
}

func (d *decoder) time() time.Time {
	n := d.int()
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func (d *decoder) tick() payout.Tick {
	t := payout.Tick{Boot: d.uint()}
	if t.Boot != 0 {
		t.At = time.Duration(d.int())
	}
	return t
}

func (d *decoder) amount() payout.Amount {
	return payout.Amount{Minor: d.int(), Currency: d.string()}
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) done(what string, key []byte) error {
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("%w: %s %x does not match its checksum", store.ErrDamaged, what, key)
	}
	return nil
}

// record is a payout as the store keeps it: prev is the payout that had the
// same id before and was cancelled, 0 for none.
type record struct {
	payout.Payout
	prev uint64
}

func (r record) encode(key []byte) []byte {
	e := newEncoder()
	p := r.Payout
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
	e.uint(uint64(p.Events))
	e.uint(uint64(p.State))
	e.uint(uint64(p.Attempt))
	e.uint(uint64(p.Tries))
	e.uint(p.Owner)
	e.uint(uint64(p.SentBy))
	e.bool(p.Doubted)
	e.bool(p.Seen)
	e.bool(p.Unproven)
	e.uint(p.Epoch)
	e.string(p.Host)
	e.time(p.EndedAt)
	e.time(p.NotSeenAt)
	e.uint(uint64(p.Asks))
	e.time(p.AskAt)
	e.time(p.FirstSent)
	e.time(p.SettledAt)
	e.string(p.GateStatus)
	e.string(p.Code)
	e.string(p.Message)
	e.amount(p.Got)
	e.string(p.Operation)
	e.string(p.Provider)
	e.string(p.Request)
	e.uint(uint64(p.Flags))
	e.tick(p.EndedTick)
	e.tick(p.NotSeen)
	e.time(p.LostSince)
	return e.sum(key)
}

func decodeRecord(key, value []byte) (record, error) {
	d := newDecoder(key, value)
	var r record
	p := &r.Payout
	p.Number = number(key)
	p.Key = payout.Key{ProjectID: uint32(d.uint()), PaymentID: d.string()}
	p.Method = d.string()
	p.Amount = d.amount()
	p.Masked = d.string()
	d.fixed(p.Content[:])
	r.prev = d.uint()
	for n := d.uint(); n > 0 && !d.bad; n-- {
		p.Places = append(p.Places, payout.Place{Batch: uint32(d.uint()), Index: uint32(d.uint())})
	}
	p.Events = int(d.uint())
	p.State = payout.State(d.uint())
	p.Attempt = int(d.uint())
	p.Tries = int(d.uint())
	p.Owner = d.uint()
	p.SentBy = uint32(d.uint())
	p.Doubted = d.bool()
	p.Seen = d.bool()
	p.Unproven = d.bool()
	p.Epoch = d.uint()
	p.Host = d.string()
	p.EndedAt = d.time()
	p.NotSeenAt = d.time()
	p.Asks = int(d.uint())
	p.AskAt = d.time()
	p.FirstSent = d.time()
	p.SettledAt = d.time()
	p.GateStatus = d.string()
	p.Code = d.string()
	p.Message = d.string()
	p.Got = d.amount()
	p.Operation = d.string()
	p.Provider = d.string()
	p.Request = d.string()
	p.Flags = payout.Flags(d.uint())
	p.EndedTick = d.tick()
	p.NotSeen = d.tick()
	p.LostSince = d.time()
	if !d.bad && !p.State.Valid() {
		d.fail()
	}
	return r, d.done("payout", key)
}

func encodeEvent(key []byte, ev payout.Event, withKey bool) []byte {
	e := newEncoder()
	if withKey {
		e.uint(uint64(ev.Key.ProjectID))
		e.string(ev.Key.PaymentID)
	}
	e.uint(uint64(ev.Kind))
	e.uint(uint64(ev.Source))
	e.time(ev.At)
	e.uint(uint64(ev.Attempt))
	e.uint(uint64(ev.Tries))
	e.uint(ev.Owner)
	e.uint(uint64(ev.Batch))
	e.string(ev.Host)
	e.uint(ev.Epoch)
	e.uint(uint64(ev.Outcome))
	e.bool(ev.Ours)
	e.bool(ev.Theirs)
	e.string(ev.Status)
	e.string(ev.Code)
	e.string(ev.Message)
	e.amount(ev.Amount)
	e.string(ev.Operation)
	e.string(ev.Provider)
	e.string(ev.Request)
	e.tick(ev.Tick)
	e.tick(ev.Applied)
	e.time(ev.Since)
	return e.sum(key)
}

func decodeEvent(key, value []byte, withKey bool) (payout.Event, error) {
	d := newDecoder(key, value)
	var ev payout.Event
	if withKey {
		ev.Key = payout.Key{ProjectID: uint32(d.uint()), PaymentID: d.string()}
	}
	ev.Kind = payout.Kind(d.uint())
	ev.Source = payout.Source(d.uint())
	ev.At = d.time()
	ev.Attempt = int(d.uint())
	ev.Tries = int(d.uint())
	ev.Owner = d.uint()
	ev.Batch = uint32(d.uint())
	ev.Host = d.string()
	ev.Epoch = d.uint()
	ev.Outcome = payout.State(d.uint())
	ev.Ours = d.bool()
	ev.Theirs = d.bool()
	ev.Status = d.string()
	ev.Code = d.string()
	ev.Message = d.string()
	ev.Amount = d.amount()
	ev.Operation = d.string()
	ev.Provider = d.string()
	ev.Request = d.string()
	ev.Tick = d.tick()
	ev.Applied = d.tick()
	ev.Since = d.time()
	if !d.bad && !ev.Kind.Valid() {
		d.fail()
	}
	return ev, d.done("event", key)
}

// line is a row of a batch as the store keeps it.
type line struct {
	payout uint64 // 0: skipped
	line   uint64 // physical line in the file
	skip   string
	sealed []byte
}

func (l line) encode(key []byte) []byte {
	e := newEncoder()
	e.uint(l.payout)
	e.uint(l.line)
	e.string(l.skip)
	e.bytes(l.sealed)
	return e.sum(key)
}

func decodeLine(key, value []byte) (line, error) {
	d := newDecoder(key, value)
	l := line{payout: d.uint(), line: d.uint(), skip: d.string(), sealed: d.bytes()}
	return l, d.done("row", key)
}

func encodeCells(cells []string) []byte {
	size := 0
	for _, c := range cells {
		size += len(c) + 2
	}
	b := binary.AppendUvarint(make([]byte, 0, size+4), uint64(len(cells)))
	for _, c := range cells {
		b = binary.AppendUvarint(b, uint64(len(c)))
		b = append(b, c...)
	}
	return b
}

func decodeCells(b []byte) ([]string, bool) {
	d := decoder{b: b}
	n := d.uint()
	if n > uint64(len(b)) {
		return nil, false
	}
	cells := make([]string, 0, n)
	for range n {
		cells = append(cells, d.string())
	}
	return cells, !d.bad && len(d.b) == 0
}

// progress is what is kept of a batch as it goes: how far claiming has come,
// and the counts.
type progress struct {
	cursor uint32 // rows before it have been claimed, or were not claimable
	counts map[countKey]count
}

type countKey struct {
	state    payout.State
	currency string
}

type count struct {
	n     int64
	minor int64
	check int64
	aside int64 // minor units of what is to be checked
}

func (p *progress) add(q payout.Payout, by int64) {
	k := countKey{q.State, q.Amount.Currency}
	c := p.counts[k]
	c.n += by
	c.minor += by * q.Amount.Minor
	if q.NeedsCheck() {
		c.check += by
		c.aside += by * q.Amount.Minor
	}
	if c == (count{}) {
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
	}
	return e.sum(key)
}

func decodeProgress(key, value []byte) (*progress, error) {
	d := newDecoder(key, value)
	p := &progress{cursor: uint32(d.uint()), counts: map[countKey]count{}}
	for n := d.uint(); n > 0 && !d.bad; n-- {
		k := countKey{payout.State(d.uint()), d.string()}
		p.counts[k] = count{n: d.int(), minor: d.int(), check: d.int(), aside: d.int()}
	}
	return p, d.done("counts of batch", key)
}
