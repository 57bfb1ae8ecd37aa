package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
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
		{bucketProgress, unlessDone(func(_ *Store, _ *bbolt.Tx, key, value []byte) ([]byte, error) {
			d := codec.NewDecoder(key, value, version1)
			p := &progress{cursor: uint32(d.Uint())} // counted when all payouts are known
			if d.Bad {
				return nil, d.Done("counts of batch", key)
			}
			return p.encode(key), nil
		})},
		{bucketIDs, func(_ *Store, _ *bbolt.Tx, key, value []byte) ([]byte, error) {
			return indexed1(key, value, 8)
		}},
		{bucketNames, func(_ *Store, _ *bbolt.Tx, key, value []byte) ([]byte, error) {
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
			p.counts, p.codes = map[countKey]tally{}, 0
			all[binary.BigEndian.Uint32(k)] = p
		}
		return err
	})
	if err != nil {
		return err
	}
	err = tx.Bucket(bucketPayouts).ForEach(func(k, v []byte) error {
		r, err := codec.DecodeRecord(k, v)
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

func decodeRecord1(tx *bbolt.Tx, key, value []byte) (codec.Record, error) {
	d := codec.NewDecoder(key, value, version1)
	r := codec.Record{Room: len(value) + codec.Grown, Old: true}
	p := &r.Payout
	d.Identity(&r, key)
	events := int(d.Uint())
	p.State = payout.State(d.Uint())
	p.Attempt, p.Tries, p.Owner = int(d.Uint()), int(d.Uint()), d.Uint()
	p.Doubted, p.Seen, p.Unproven = d.Flag(), d.Flag(), d.Flag()
	p.Epoch = d.Uint()
	p.Host = d.String()
	p.EndedAt, p.NotSeenAt = d.MaybeTime(), d.MaybeTime()
	p.Polls = int(d.Uint())
	p.PollAt, p.FirstSent, p.FinalAt = d.MaybeTime(), d.MaybeTime(), d.MaybeTime()
	p.Reported.Status, p.Reported.Code, p.Reported.Message = d.String(), d.String(), d.String()
	p.Reported.Amount = d.Amount()
	p.Reported.OperationID, p.Reported.ProviderPaymentID, p.Reported.RequestID = d.String(), d.String(), d.String()
	p.Flags = flags1(d.Uint())
	if !d.Bad && !p.State.Valid() {
		d.Fail()
	}
	if err := d.Done("payout", key); err != nil {
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
		d := codec.NewDecoder(key, b.Get(key), version1)
		ev := event1(&d)
		if err := d.Done("event", key); err != nil {
			return nil, err
		}
		ev.Key = p.Key
		events = append(events, ev)
	}
	return events, nil
}

func event1(d *codec.Decoder) (ev payout.Event) {
	ev.Kind, ev.Source = payout.Kind(d.Uint()), payout.Source(d.Uint())
	ev.At = d.MaybeTime()
	ev.Attempt, ev.Tries, ev.Owner = int(d.Uint()), int(d.Uint()), d.Uint()
	ev.Host = d.String()
	ev.Epoch = d.Uint()
	ev.Outcome = payout.State(d.Uint())
	if d.Flag() {
		ev.Match = payout.MatchProven
	}
	if d.Flag() {
		ev.Match = payout.MatchDiffers
	}
	ev.Status, ev.Code, ev.Message = d.String(), d.String(), d.String()
	ev.Amount = d.Amount()
	ev.OperationID, ev.ProviderPaymentID, ev.RequestID = d.String(), d.String(), d.String()
	if !d.Bad && !ev.Kind.Valid() {
		d.Fail()
	}
	return ev
}

// decodeEarly1 reads a report that waits for its payout; like those of format 3, it does
// not say whom it is about, and will not be believed.
func decodeEarly1(key, value []byte) (payout.Event, error) {
	d := codec.NewDecoder(key, value, version1)
	k := payout.Key{ProjectID: uint32(d.Uint()), PaymentID: d.String()}
	ev := event1(&d)
	ev.Key = k
	if err := d.Done("event", key); err != nil {
		return ev, fmt.Errorf("%w (a report that waits for its payout)", err)
	}
	return ev, nil
}
