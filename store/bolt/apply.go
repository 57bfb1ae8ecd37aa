package bolt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"masspay/store/codec"

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

func (w *writer) applyByKey(e payout.Event) (store.Change, error) {
	if e.Number != 0 {
		r, err := w.get(e.Number)
		if err == nil && r.Key == e.Key && r.State != payout.StateCancelled {
			return w.apply(&r, &e)
		}
	}
	id := w.s.sealer.DigestID(e.Key)
	n, err := w.find(id)
	if err != nil {
		return store.Change{}, err
	}
	if n == 0 {
		return w.keepEarly(id, e)
	}
	r, err := w.get(n)
	if err == nil && r.Key != e.Key {
		err = fmt.Errorf("%w: the id of %s leads to another payout", store.ErrDamaged, e.Key)
	}
	if err != nil {
		return store.Change{}, err
	}
	return w.apply(&r, &e)
}

// apply runs one event through Next and writes what it changed.
func (w *writer) apply(r *codec.Record, e *payout.Event) (store.Change, error) {
	before := r.Payout
	run := w.s.begun()
	change, err := r.Step(w.s.o.Rules, e, run.Number, w)
	if err != nil {
		return change, err
	}
	w.counting.Count(e, &change)
	if change.Effect == payout.Ignored {
		return change, nil
	}
	if entry, ok := store.EntryOf(*e, change.After); ok {
		if len(before.Places) > 0 {
			header, err := w.header(before.Places[0].Batch)
			if err != nil {
				return change, err
			}
			entry.Batch, entry.File = header.ID, header.Name
		}
		if err := note(w.tx, entry.By(run)); err != nil {
			return change, err
		}
	}
	return change, w.replace(&before, r)
}

// Tick is now; see Surroundings.
func (w *writer) Tick() payout.Tick { return clock.Tick() }

// Place returns the row that a payout is sent from; see Surroundings.
func (w *writer) Place(p *payout.Payout) (store.Batch, []string, error) {
	at := p.Places[0]
	header, err := w.header(at.Batch)
	if err != nil {
		return header, nil, err
	}
	cells, err := w.cells(*p, at)
	return header, cells, err
}

// cells are those of a row of a payout.
func (w *writer) cells(p payout.Payout, at payout.Place) ([]string, error) {
	key := pair32(at.Batch, at.Index)
	l, err := decodeLine(key, w.tx.Bucket(bucketLines).Get(key))
	if err != nil {
		return nil, err
	}
	return w.s.sealer.Open(l.sealed, p.Key, at.Batch, at.Index)
}

// Lifted reports whether a bar is gone; see Surroundings.
func (w *writer) Lifted(bar payout.Bar) (bool, error) {
	m, err := readMeta(w.tx)
	return err == nil && bar.Lifted(clock.Boot(), clock.Machine(), m.epoch), err
}

// Copied reports whether the store is a restored copy; see Surroundings.
func (w *writer) Copied() (restored bool, since time.Time, err error) {
	m, marker, err := w.s.ageOf(w.tx)
	if errors.Is(err, store.ErrNoMarker) {
		return false, since, nil // nothing is sent either; the stricter date holds
	}
	if err != nil {
		return false, since, err
	}
	since = m.claimed
	if m.epoch != 0 {
		since = m.copied
	}
	return marker > m.generation || m.epoch != 0, since, nil
}
