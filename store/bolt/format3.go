package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/payout"
)

// Format 3 had masks of 32 bits, compared payments outside of the store, and kept
// gates by their host alone. What follows reads it, and nothing writes it.

const version3 = 1

// migrate3 brings a store from format 3 to 4: payouts, counts, waiting reports and
// what the store knows of itself are rewritten; rows and indexes stay.
var migrate3 = migration{
	to: 4,
	begin: func(tx *bbolt.Tx, m *meta) error {
		old, err := readMeta3(tx)
		*m = old
		return err
	},
	steps: []step{
		{bucketPayouts, rewritePayouts(func(_ *bbolt.Tx, key, value []byte) (codec.Record, error) { return decodeRecord3(key, value) })},
		{bucketEarly, rewriteEarly(decodeEarly3)},
		{bucketProgress, unlessDone(func(_ *Store, _ *bbolt.Tx, key, value []byte) ([]byte, error) {
			p, err := decodeProgress3(key, value)
			if err != nil {
				return nil, err
			}
			return p.encode(key), nil
		})},
	},
	end: func(s *Store, tx *bbolt.Tx, m *meta) error { return s.settleIn(tx, m) },
}

// settleIn gives a store what formats 1 and 3 did not keep: where it is at home, its
// lock files' identity, and open payouts by gate. Where it was at home before, and whose
// processes were found dead, they did not keep: that a lock file is missing proves nothing,
// so what its process was sending is sent again only after a person has looked.
func (s *Store) settleIn(tx *bbolt.Tx, m *meta) error {
	if err := m.settle(s.o.Path); err != nil {
		return err
	}
	return errors.Join(countHosts(tx), s.turn.identify(m.locks))
}

// countHosts recounts open payouts by gate: what was freed after a doubt counts, too.
func countHosts(tx *bbolt.Tx) error {
	hosts := map[string]int64{}
	c := tx.Bucket(bucketPayouts).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		r, err := codec.DecodeRecord(k, v)
		if err != nil {
			return err
		}
		if r.OpenAtGate() {
			hosts[r.Host]++
		}
	}
	if err := tx.DeleteBucket(bucketHosts); err != nil {
		return err
	}
	b, err := tx.CreateBucket(bucketHosts)
	if err != nil {
		return err
	}
	for host, n := range hosts {
		if err := b.Put([]byte(host), be64(uint64(n))); err != nil {
			return err
		}
	}
	return nil
}

func readMeta3(tx *bbolt.Tx) (m meta, err error) {
	d := codec.NewDecoder(metaState, tx.Bucket(bucketMeta).Get(metaState), version3)
	d.Fixed(m.check[:])
	m.generation, m.epoch, m.next = d.Uint(), d.Uint(), d.Uint()
	m.nextBatch, m.loading, m.first = uint32(d.Uint()), uint32(d.Uint()), d.Uint()
	m.claimed, m.copied = d.MaybeTime(), d.MaybeTime()
	return m, d.Done("what the store knows of itself,", metaState)
}

func decodeProgress3(key, value []byte) (*progress, error) {
	d := codec.NewDecoder(key, value, version3)
	p := &progress{cursor: uint32(d.Uint()), counts: map[countKey]tally{}}
	for n := d.Uint(); n > 0 && !d.Bad; n-- {
		k := countKey{state: payout.State(d.Uint()), currency: d.String()}
		p.counts[k] = tally{n: d.Int(), minor: d.Int(), check: d.Int(), aside: d.Int()}
	}
	return p, d.Done("counts of batch", key)
}

func decodeRecord3(key, value []byte) (codec.Record, error) {
	d := codec.NewDecoder(key, value, version3)
	r := codec.Record{Room: len(value), Old: true}
	p := &r.Payout
	d.Identity(&r, key)
	p.State = payout.State(d.Uint())
	life3(&d, p)
	p.Events = int(d.Uint())
	r.Log = d.String()
	d.Padding()
	if !d.Bad && !p.State.Valid() {
		d.Fail()
	}
	if err := d.Done("payout", key); err != nil {
		return r, err
	}
	events, err := codec.ReadHistory(&r, func(d *codec.Decoder, gate string) payout.Event { return event3(d, gate, p.Amount) })
	if err != nil {
		return r, err
	}
	known3(&r, events)
	return r, nil
}

// known3 fills what format 3 did not keep, from the history and with doubt where it
// does not tell; it re-encodes the history.
func known3(r *codec.Record, events []payout.Event) {
	p := &r.Payout
	again := codec.Record{Payout: payout.Payout{Key: p.Key, Amount: p.Amount}}
	for _, e := range events {
		if e.Report() || e.Source == payout.FromRun && (e.Kind == payout.Accepted || e.Kind == payout.Taken || e.Kind == payout.Refused) {
			p.ReportedAt = e.At
		}
		switch {
		case e.Kind == payout.Accepted && p.AcceptedAttempt == 0:
			p.AcceptedAttempt = e.Attempt
		case e.Kind == payout.Final:
			p.Outcomes |= 1 << e.Outcome
		case e.Kind == payout.Suspected:
			p.MayHaveLeft = false
		case e.Kind == payout.Doubtful, e.Kind == payout.Orphaned, e.Kind == payout.Progress && p.AcceptedAttempt == 0 && p.Attempt > 0:
			p.MayHaveLeft = true
		}
		again.WithEvent(&e)
		if codec.SetsHost(e.Kind) {
			again.Host = e.Host
		}
	}
	r.Log, p.Events = again.Log, again.Events
	if p.Unproven && p.State.Final() && p.Flags&payout.NotOurs == 0 {
		p.Flags |= payout.Unproved // format 3 showed these as check, too
		p.Field = payout.FieldCustomer
	}
}

// mask3 says which of the fields behind it are there.
type mask3 struct {
	d    *codec.Decoder
	bits uint32
	next int
}

func maskOf3(d *codec.Decoder) *mask3 {
	var b [4]byte
	d.Fixed(b[:])
	return &mask3{d: d, bits: binary.BigEndian.Uint32(b[:])}
}

func (m *mask3) has() bool {
	m.next++
	return m.bits>>(m.next-1)&1 == 1
}

func (m *mask3) uint() (n uint64) {
	if m.has() {
		n = m.d.Uint()
	}
	return n
}

func (m *mask3) text() (s string) {
	if m.has() {
		s = m.d.String()
	}
	return s
}

func (m *mask3) time(from time.Time) (t time.Time) {
	if m.has() {
		t = m.d.Time(from)
	}
	return t
}

func (m *mask3) tick() (t payout.Tick) {
	if m.has() {
		t = m.d.Tick()
	}
	return t
}

func (m *mask3) amount(asked payout.Amount) (a payout.Amount) {
	if m.has() {
		a = asked
	}
	if m.has() {
		a = m.d.Amount()
	}
	return a
}

func life3(d *codec.Decoder, p *payout.Payout) {
	m := maskOf3(d)
	p.FirstSent = m.time(time.Time{})
	p.Doubted, p.Seen, p.Unproven = m.has(), m.has(), m.has()
	p.Attempt, p.Tries = int(m.uint()), int(m.uint())
	p.Owner, p.SentBy, p.Epoch = m.uint(), uint32(m.uint()), m.uint()
	p.Host = m.text()
	p.EndedAt, p.NotSeenAt = m.time(p.FirstSent), m.time(p.FirstSent)
	p.Polls = int(m.uint())
	p.PollAt, p.FinalAt = m.time(p.FirstSent), m.time(p.FirstSent)
	p.Reported.Status, p.Reported.Code, p.Reported.Message = m.text(), m.text(), m.text()
	p.Reported.Amount = m.amount(p.Amount)
	p.Reported.OperationID, p.Reported.ProviderPaymentID, p.Reported.RequestID = m.text(), m.text(), m.text()
	p.Flags = payout.Flags(m.uint())
	p.EndedTick, p.NotSeen = m.tick(), m.tick()
	p.LostSince = m.time(p.FirstSent)
}

func event3(d *codec.Decoder, gate string, asked payout.Amount) (ev payout.Event) {
	ev.Kind = payout.Kind(d.Uint())
	ev.Source = payout.Source(d.Uint())
	ev.At = d.MaybeTime()
	m := maskOf3(d)
	ev.Attempt, ev.Tries = int(m.uint()), int(m.uint())
	ev.Owner, ev.Batch = m.uint(), uint32(m.uint())
	if ev.Host = gate; !m.has() {
		ev.Host = d.String()
	}
	ev.Epoch = m.uint()
	ev.Outcome = payout.State(m.uint())
	if m.has() {
		ev.Match = payout.MatchProven
	}
	if m.has() {
		ev.Match = payout.MatchDiffers
	}
	ev.Status, ev.Code, ev.Message = m.text(), m.text(), m.text()
	ev.Amount = m.amount(asked)
	ev.OperationID, ev.ProviderPaymentID, ev.RequestID = m.text(), m.text(), m.text()
	ev.Tick, ev.Applied = m.tick(), m.tick()
	ev.Since = m.time(time.Time{})
	return ev
}

// decodeEarly3 reads a report that waits for its payout. Format 3 did not keep whom
// it is about, so that it will not be believed; it is shown.
func decodeEarly3(key, value []byte) (payout.Event, error) {
	d := codec.NewDecoder(key, value, version3)
	k := payout.Key{ProjectID: uint32(d.Uint()), PaymentID: d.String()}
	ev := event3(&d, "", payout.Amount{})
	ev.Key = k
	if !d.Bad && !ev.Kind.Valid() {
		d.Fail()
	}
	if err := d.Done("event", key); err != nil {
		return ev, fmt.Errorf("%w (a report that waits for its payout)", err)
	}
	return ev, nil
}
