package bolt

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

// Apply runs events through payout.Next in one commit; see store.Store.
func (s *Store) Apply(ctx context.Context, events ...payout.Event) ([]store.Change, error) {
	if len(events) == 0 {
		return nil, nil
	}
	var changes []store.Change
	err := s.update(ctx, func(tx *bbolt.Tx) error {
		changes = make([]store.Change, 0, len(events))
		w := s.writer(tx)
		for _, e := range events {
			c, err := w.applyByKey(e)
			if err != nil {
				return err
			}
			changes = append(changes, c)
		}
		return w.flush()
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
}

// writer changes payouts within one transaction and keeps their indexes and
// counts in step.
type writer struct {
	s        *Store
	tx       *bbolt.Tx
	payouts  *bbolt.Bucket
	progress map[uint32]*progress // loaded so far; nil: the batch is gone
	hosts    map[string]int64     // changes
}

func (s *Store) writer(tx *bbolt.Tx) *writer {
	return &writer{
		s: s, tx: tx, payouts: tx.Bucket(bucketPayouts),
		progress: map[uint32]*progress{}, hosts: map[string]int64{},
	}
}

// find returns the payout that an id stands for, or 0. A payout of a load that
// is not whole does not count; the one before it does.
func find(tx *bbolt.Tx, id payout.Digest) (uint64, error) {
	n, err := lookID(tx, id)
	if err != nil || n == 0 {
		return 0, err
	}
	m, err := readMeta(tx)
	if err == nil && m.loading != 0 && n >= m.first {
		r, err := get(tx, n)
		return r.prev, err
	}
	return n, err
}

func get(tx *bbolt.Tx, n uint64) (record, error) {
	key := be64(n)
	v := tx.Bucket(bucketPayouts).Get(key)
	if v == nil {
		return record{}, fmt.Errorf("%w: payout number %d is missing", store.ErrDamaged, n)
	}
	r, err := decodeRecord(key, v)
	if len(r.Places) > 1 {
		// Rows of loads that were undone leave dead places behind.
		r.Places = slices.DeleteFunc(r.Places, func(at payout.Place) bool {
			return tx.Bucket(bucketProgress).Get(be32(at.Batch)) == nil
		})
	}
	return r, err
}

func (w *writer) applyByKey(e payout.Event) (store.Change, error) {
	id := w.s.DigestID(e.Key)
	n, err := find(w.tx, id)
	if err != nil {
		return store.Change{}, err
	}
	if n == 0 {
		return w.keepEarly(id, e)
	}
	r, err := get(w.tx, n)
	if err == nil && r.Key != e.Key {
		err = fmt.Errorf("%w: the id of %s leads to another payout", store.ErrDamaged, e.Key)
	}
	if err != nil {
		return store.Change{}, err
	}
	return w.apply(r, e)
}

// keepEarly keeps the gate's word about an id that no file has brought yet.
func (w *writer) keepEarly(id payout.Digest, e payout.Event) (store.Change, error) {
	if e.Source != payout.FromCallback {
		return store.Change{Effect: payout.Ignored}, nil
	}
	b := w.tx.Bucket(bucketEarly)
	last := 0
	c := b.Cursor()
	for k, v := c.Seek(id[:]); len(k) == 20 && [16]byte(k[:16]) == id; k, v = c.Next() {
		old, err := decodeEvent(k, v, true)
		if err != nil {
			return store.Change{}, err
		}
		if sameWord(old, e) {
			return store.Change{Kept: true, Effect: payout.Ignored}, nil
		}
		last++
	}
	key := append(slices.Clone(id[:]), be32(uint32(last))...)
	return store.Change{Kept: true, Effect: payout.Changed}, b.Put(key, encodeEvent(key, e, true))
}

// sameWord reports whether two events say the same, but for their times.
func sameWord(a, b payout.Event) bool {
	a.At, a.Maybe = b.At, b.Maybe
	return a == b
}

// apply runs one event through Next and writes what it changed.
func (w *writer) apply(r record, e payout.Event) (store.Change, error) {
	before := r.Payout
	if e.Kind == payout.NotSeen && e.Applied.Boot == 0 {
		e.Applied = clock.Tick()
	}
	after, effect := payout.Next(w.s.o.Rules, before, e)
	c := store.Change{Before: before, After: after, Effect: effect}
	if effect == payout.Ignored {
		return c, nil
	}
	if effect != payout.Noted {
		key := eventKey(after.Number, after.Events)
		if err := w.tx.Bucket(bucketEvents).Put(key, encodeEvent(key, e, false)); err != nil {
			return c, err
		}
		after.Events++
	}
	c.After = after
	r.Payout = after
	return c, w.replace(before, r)
}

// replace writes a payout over what it was, with everything derived from it.
func (w *writer) replace(before payout.Payout, r record) error {
	after := r.Payout
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
		if after.State == payout.StateNew && before.State != payout.StateNew && at.Index < p.cursor {
			if err := w.tx.Bucket(bucketFreed).Put(pair32(at.Batch, at.Index), nil); err != nil {
				return err
			}
		}
	}
	key := be64(after.Number)
	return w.payouts.Put(key, r.encode(key))
}

func (w *writer) reindex(before, after payout.Payout) error {
	var errs []error
	if !before.AskAt.Equal(after.AskAt) {
		due := w.tx.Bucket(bucketDue)
		if !before.AskAt.IsZero() {
			errs = append(errs, due.Delete(dueKey(before.AskAt, before.Number)))
		}
		if !after.AskAt.IsZero() {
			errs = append(errs, due.Put(dueKey(after.AskAt, after.Number), nil))
		}
	}
	if before.Owner != after.Owner {
		claims := w.tx.Bucket(bucketClaims)
		if before.Owner != 0 {
			errs = append(errs, claims.Delete(pair64(before.Owner, before.Number)))
		}
		if after.Owner != 0 {
			errs = append(errs, claims.Put(pair64(after.Owner, after.Number), nil))
		}
	}
	w.countHost(before, -1)
	w.countHost(after, +1)
	return errors.Join(errs...)
}

// countHost counts payouts that a gate may know and has not settled.
func (w *writer) countHost(p payout.Payout, by int64) {
	if p.Host != "" && p.State.Open() && p.State != payout.StateNew {
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
		key := be32(n)
		if err := w.tx.Bucket(bucketProgress).Put(key, p.encode(key)); err != nil {
			return err
		}
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
