package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/seal"
)

// Format 1 kept events in a bucket of their own and every number that the store knew of
// itself under a key of its own; its indexes had no checksums. What follows reads it,
// and nothing writes it.

const version1 = 1

var (
	bucketEvents1 = []byte("events") // payout number (8), event number (4) -> event

	metaCheck1      = []byte("check")
	metaGeneration1 = []byte("generation")
	metaEpoch1      = []byte("epoch")
	metaLoading1    = []byte("loading") // batch number (4), first payout number (8)
	metaNext1       = []byte("next")
	metaNextBatch1  = []byte("next batch")
)

// migrate1 brings a store from format 1 to 4: everything but rows, batches and runs is
// rewritten, and counts are made from the payouts.
var migrate1 = migration{
	to: 4,
	begin: func(tx *bbolt.Tx, m *meta) error {
		old, err := readMeta1(tx)
		*m = old
		return err
	},
	steps: []step{
		{bucketPayouts, rewritePayouts(decodeRecord1)},
		{bucketEarly, rewriteEarly(decodeEarly1)},
		{bucketProgress, unlessDone(func(_ *bbolt.Tx, _ *seal.Sealer, key, value []byte) ([]byte, error) {
			d := newDecoder(key, value, version1)
			p := &progress{cursor: uint32(d.uint())} // counted when all payouts are known
			if d.bad {
				return nil, d.done("counts of batch", key)
			}
			return p.encode(key), nil
		})},
		{bucketIDs, func(_ *bbolt.Tx, _ *seal.Sealer, key, value []byte) ([]byte, error) {
			return indexed1(key, value, 8)
		}},
		{bucketNames, func(_ *bbolt.Tx, _ *seal.Sealer, key, value []byte) ([]byte, error) {
			return indexed1(key, value, 4)
		}},
	},
	end: func(s *Store, tx *bbolt.Tx, m *meta) error {
		for _, key := range [][]byte{metaCheck1, metaGeneration1, metaEpoch1, metaLoading1, metaNext1, metaNextBatch1} {
			if err := tx.Bucket(bucketMeta).Delete(key); err != nil {
				return err
			}
		}
		return errors.Join(tx.DeleteBucket(bucketEvents1), countPayouts(tx), s.settleIn(tx, m))
	},
}

func readMeta1(tx *bbolt.Tx) (m meta, err error) {
	b := tx.Bucket(bucketMeta)
	check := b.Get(metaCheck1)
	if len(check) != len(m.check) || number(b.Get(metaNext1)) == 0 || number(b.Get(metaNextBatch1)) == 0 {
		return m, fmt.Errorf("%w: what the store knows of itself cannot be read", store.ErrDamaged)
	}
	m.check = [16]byte(check)
	m.generation, m.epoch = number(b.Get(metaGeneration1)), number(b.Get(metaEpoch1))
	m.next, m.nextBatch = number(b.Get(metaNext1)), uint32(number(b.Get(metaNextBatch1)))
	if v := b.Get(metaLoading1); len(v) == 12 {
		m.loading, m.first = binary.BigEndian.Uint32(v), binary.BigEndian.Uint64(v[4:])
	}
	return m, nil
}

// indexed1 gives an index entry its checksum.
func indexed1(key, value []byte, size int) ([]byte, error) {
	if len(value) == 12 {
		return value, nil // before the migration was cut off
	}
	if len(value) != size {
		return nil, fmt.Errorf("%w: index entry %x cannot be read", store.ErrDamaged, key)
	}
	var wide [8]byte
	copy(wide[8-size:], value)
	return indexEntry(key, number(wide[:])), nil
}

// countPayouts counts the payouts of every batch again.
func countPayouts(tx *bbolt.Tx) error {
	all := map[uint32]*progress{}
	b := tx.Bucket(bucketProgress)
	err := b.ForEach(func(k, v []byte) error {
		p, err := decodeProgress(k, v)
		if err == nil {
			p.counts = map[countKey]tally{}
			all[binary.BigEndian.Uint32(k)] = p
		}
		return err
	})
	if err != nil {
		return err
	}
	err = tx.Bucket(bucketPayouts).ForEach(func(k, v []byte) error {
		r, err := decodeRecord(k, v)
		for _, at := range r.Places {
			if p := all[at.Batch]; p != nil { // nil: a load that was undone
				p.add(&r.Payout, +1)
			}
		}
		return err
	})
	for n, p := range all {
		err = errors.Join(err, b.Put(be32(n), p.encode(be32(n))))
	}
	return err
}

func decodeRecord1(tx *bbolt.Tx, key, value []byte) (record, error) {
	d := newDecoder(key, value, version1)
	r := record{room: len(value) + grown, old: true}
	p := &r.Payout
	d.identity(&r, key)
	events := int(d.uint())
	p.State = payout.State(d.uint())
	p.Attempt, p.Tries, p.Owner = int(d.uint()), int(d.uint()), d.uint()
	p.Doubted, p.Seen, p.Unproven = d.flag(), d.flag(), d.flag()
	p.Epoch = d.uint()
	p.Host = d.string()
	p.EndedAt, p.NotSeenAt = d.maybeTime(), d.maybeTime()
	p.Polls = int(d.uint())
	p.PollAt, p.FirstSent, p.FinalAt = d.maybeTime(), d.maybeTime(), d.maybeTime()
	p.Reported.Status, p.Reported.Code, p.Reported.Message = d.string(), d.string(), d.string()
	p.Reported.Amount = d.amount()
	p.Reported.OperationID, p.Reported.ProviderPaymentID, p.Reported.RequestID = d.string(), d.string(), d.string()
	p.Flags = flags1(d.uint())
	if !d.bad && !p.State.Valid() {
		d.fail()
	}
	if err := d.done("payout", key); err != nil {
		return r, err
	}
	history, err := history1(tx, p, events)
	if err != nil {
		return r, err
	}
	known3(&r, history)
	return r, nil
}

// flags1 are the oddities of format 1, which did not have Proved.
func flags1(bits uint64) payout.Flags {
	const restored = 1 << 7
	f := payout.Flags(bits) &^ restored
	if bits&restored != 0 {
		f |= payout.Restored
	}
	return f
}

func history1(tx *bbolt.Tx, p *payout.Payout, n int) ([]payout.Event, error) {
	b := tx.Bucket(bucketEvents1)
	var events []payout.Event
	for seq := range n {
		key := append(be64(p.Number), be32(uint32(seq))...)
		d := newDecoder(key, b.Get(key), version1)
		ev := event1(&d)
		if err := d.done("event", key); err != nil {
			return nil, err
		}
		ev.Key = p.Key
		events = append(events, ev)
	}
	return events, nil
}

func event1(d *decoder) (ev payout.Event) {
	ev.Kind, ev.Source = payout.Kind(d.uint()), payout.Source(d.uint())
	ev.At = d.maybeTime()
	ev.Attempt, ev.Tries, ev.Owner = int(d.uint()), int(d.uint()), d.uint()
	ev.Host = d.string()
	ev.Epoch = d.uint()
	ev.Outcome = payout.State(d.uint())
	if d.flag() {
		ev.Match = payout.MatchProven
	}
	if d.flag() {
		ev.Match = payout.MatchDiffers
	}
	ev.Status, ev.Code, ev.Message = d.string(), d.string(), d.string()
	ev.Amount = d.amount()
	ev.OperationID, ev.ProviderPaymentID, ev.RequestID = d.string(), d.string(), d.string()
	if !d.bad && !ev.Kind.Valid() {
		d.fail()
	}
	return ev
}

// decodeEarly1 reads a report that waits for its payout; like those of format 3, it does
// not say whom it is about, and will not be believed.
func decodeEarly1(key, value []byte) (payout.Event, error) {
	d := newDecoder(key, value, version1)
	k := payout.Key{ProjectID: uint32(d.uint()), PaymentID: d.string()}
	ev := event1(&d)
	ev.Key = k
	if err := d.done("event", key); err != nil {
		return ev, fmt.Errorf("%w (a report that waits for its payout)", err)
	}
	return ev, nil
}
