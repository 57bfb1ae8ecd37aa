package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
)

// writer changes payouts within one transaction and keeps their indexes and
// counts in step.
type writer struct {
	s                 *Store
	tx                *bbolt.Tx
	payouts           *bbolt.Bucket
	at                *bbolt.Cursor        // among the payouts
	key               [16]byte             // of the moment: bbolt keeps a copy of what it keeps
	progress          map[uint32]*progress // loaded so far; nil: the batch is gone
	hosts             map[string]int64     // changes
	headers           map[uint32]store.Batch
	counting          store.Counting // what passed in this transaction
	lookedForFamilies bool

	unloaded uint64        // payout number from which on payouts are of a load that is not whole; 0: not looked up
	families *bbolt.Bucket // nil: there are none, or not looked for
	arena    []byte        // for values, which must live as long as the transaction
}

func (s *Store) writer(tx *bbolt.Tx) *writer {
	payouts := tx.Bucket(bucketPayouts)
	return &writer{
		s: s, tx: tx, payouts: payouts, at: payouts.Cursor(),
		progress: map[uint32]*progress{}, hosts: map[string]int64{}, headers: map[uint32]store.Batch{},
	}
}

// number, place, due and claim are keys that live until the next one is made.
func (w *writer) number(n uint64) []byte { return binary.BigEndian.AppendUint64(w.key[:0], n) }

func (w *writer) place(batch, index uint32) []byte { return append32(w.key[:0], batch, index) }

func (w *writer) due(p *payout.Payout) []byte { return appendDue(w.key[:0], p.PollAt, p.Number) }

func (w *writer) claim(p *payout.Payout) []byte { return append64(w.key[:0], p.Owner, p.Number) }

// seek is Bucket.Get with a cursor that is kept, which saves the memory of a new
// one. A search begins at the root, so that the cursor does not mind what was
// changed meanwhile.
func seek(c *bbolt.Cursor, key []byte) []byte {
	if k, v := c.Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

// get reads a payout.
func (w *writer) get(n uint64) (codec.Record, error) {
	key := w.number(n)
	return recordOf(w.tx, key, seek(w.at, key))
}

// find returns the payout that an id means, or 0. A payout of a load that
// is not whole does not count; the one before it does.
func find(tx *bbolt.Tx, id payout.Digest, unloaded uint64) (uint64, error) {
	n, err := lookID(tx, id)
	if err != nil || n < unloaded {
		return n, err
	}
	r, err := get(tx, n)
	return r.Prev, err
}

// unloaded is the payout number from which on payouts are of a load that is not
// whole.
func unloaded(tx *bbolt.Tx) (uint64, error) {
	m, err := readMeta(tx)
	if err != nil || m.loading == 0 {
		return math.MaxUint64, err
	}
	return m.first, nil
}

func (w *writer) find(id payout.Digest) (n uint64, err error) {
	if w.unloaded == 0 {
		if w.unloaded, err = unloaded(w.tx); err != nil {
			return 0, err
		}
	}
	return find(w.tx, id, w.unloaded)
}

func get(tx *bbolt.Tx, n uint64) (codec.Record, error) {
	key := be64(n)
	return recordOf(tx, key, tx.Bucket(bucketPayouts).Get(key))
}

func recordOf(tx *bbolt.Tx, key, v []byte) (codec.Record, error) {
	if v == nil {
		return codec.Record{}, fmt.Errorf("%w: payout number %d is missing", store.ErrDamaged, number(key))
	}
	r, err := codec.DecodeRecord(key, v)
	if len(r.Places) > 1 {
		// Rows of loads that were undone leave dead places behind.
		r.Places = slices.DeleteFunc(r.Places, func(at payout.Place) bool {
			return tx.Bucket(bucketProgress).Get(be32(at.Batch)) == nil
		})
	}
	return r, err
}

// header returns a whole batch without its counts.
func (w *writer) header(number uint32) (store.Batch, error) {
	w.s.mu.Lock()
	b, ok := w.s.columns[number]
	w.s.mu.Unlock()
	if ok {
		return b, nil
	}
	if b, ok = w.headers[number]; ok {
		return b, nil
	}
	b, err := readBatch(w.tx, be32(number))
	if err == nil {
		w.headers[number] = b // for this transaction: its batch may not be there after it
	}
	return b, err
}

// replace writes a payout over what it was, with everything derived from it.
func (w *writer) replace(before *payout.Payout, r *codec.Record) error {
	after := &r.Payout
	if err := w.reindex(before, after); err != nil {
		return err
	}
	for _, at := range after.Places {
		p, err := w.batch(at.Batch)
		if err != nil {
			return err
		}
		if p == nil {
			continue // a load that was undone
		}
		p.add(before, -1)
		p.add(after, +1)
		p.touched = true
		if after.State == payout.StateNew && before.State != payout.StateNew && !after.OfAnother() && at.Index < p.cursor {
			if err := w.tx.Bucket(bucketFreed).Put(w.place(at.Batch, at.Index), nil); err != nil {
				return err
			}
		}
	}
	return w.put(r)
}

// put writes a record. What a newer masspay has written into it must not be lost.
func (w *writer) put(r *codec.Record) error {
	if r.Newer {
		return fmt.Errorf("payout %s: %w", r.Key, store.ErrNewer)
	}
	const piece = 64 << 10
	if cap(w.arena)-len(w.arena) < r.Room+256 {
		w.arena = make([]byte, 0, max(piece, r.Room+256))
	}
	key := w.number(r.Number)
	e := codec.Encoder{B: append(w.arena[len(w.arena):len(w.arena):cap(w.arena)], codec.RecordVersion)}
	value := r.Append(&e, key)
	if len(value) <= cap(w.arena)-len(w.arena) {
		w.arena = w.arena[:len(w.arena)+len(value)]
	}
	return w.payouts.Put(key, value)
}

func (w *writer) reindex(before, after *payout.Payout) error {
	var errs [5]error
	if !before.PollAt.Equal(after.PollAt) {
		due := w.tx.Bucket(bucketDue)
		due.FillPercent = 1 // most times are later than all before
		if !before.PollAt.IsZero() {
			errs[0] = due.Delete(w.due(before))
		}
		if !after.PollAt.IsZero() {
			errs[1] = due.Put(w.due(after), nil)
		}
	}
	if before.Owner != after.Owner {
		claims := w.tx.Bucket(bucketClaims)
		if before.Owner != 0 {
			errs[2] = claims.Delete(w.claim(before))
		}
		if after.Owner != 0 {
			errs[3] = claims.Put(w.claim(after), nil)
		}
	}
	if was, is := before.Exception(), after.Exception(); was != is {
		errs[4] = putException(w.tx.Bucket(bucketExceptions), w.number(after.Number), is)
	}
	w.countHost(before, -1)
	w.countHost(after, +1)
	return errors.Join(errs[:]...)
}

// countHost counts payouts that a gate may know and has not decided.
func (w *writer) countHost(p *payout.Payout, by int64) {
	if p.OpenAtGate() {
		w.hosts[p.Host] += by
	}
}

// batch returns a batch's progress, nil when there is no such batch.
func (w *writer) batch(n uint32) (*progress, error) {
	if p, ok := w.progress[n]; ok {
		return p, nil
	}
	key := be32(n)
	v := w.tx.Bucket(bucketProgress).Get(key)
	if v == nil {
		w.progress[n] = nil
		return nil, nil
	}
	p, err := decodeProgress(key, v)
	if err != nil {
		return nil, err
	}
	w.progress[n] = p
	return p, nil
}

// flush writes the counts that the transaction changed. It is the last thing
// before the commit.
func (w *writer) flush() error {
	for n, p := range w.progress {
		if p == nil {
			continue
		}
		if p.touched {
			p.changed, p.touched = w.s.o.now().UTC(), false
		}
		key := be32(n)
		if err := w.tx.Bucket(bucketProgress).Put(key, p.encode(key)); err != nil {
			return err
		}
	}
	if err := w.flushFlows(); err != nil {
		return err
	}
	hosts := w.tx.Bucket(bucketHosts)
	for host, by := range w.hosts {
		if by == 0 {
			continue
		}
		n := int64(number(hosts.Get([]byte(host)))) + by
		var err error
		if n > 0 {
			err = hosts.Put([]byte(host), be64(uint64(n)))
		} else {
			err = hosts.Delete([]byte(host))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
