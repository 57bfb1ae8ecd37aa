package bolt

import (
	"context"
	"errors"
	"fmt"

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

// apply runs one event through Next and writes what it changed. A report is compared
// with the row first, in this same transaction.
func (w *writer) apply(r *record, e *payout.Event) (store.Change, error) {
	before := r.Payout
	if e.Kind == payout.NotSeen {
		if e.Applied.Boot == 0 {
			e.Applied = clock.Tick()
		}
		lifted, err := w.lifted(before)
		if err != nil {
			return store.Change{}, err
		}
		e.Lifted = lifted
	}
	if e.Report() {
		row, err := w.row(before)
		if err != nil {
			return store.Change{}, err
		}
		e.Match, e.Field = payout.MatchPayment(before, row, *e)
	}
	if e.Message != "" {
		if err := w.mask(before, e); err != nil {
			return store.Change{}, err
		}
	}
	after, effect := payout.Next(w.s.o.Rules, before, *e)
	if effect == payout.Ignored {
		return store.Change{Was: before.State, After: after, Effect: effect}, nil
	}
	if effect != payout.Noted {
		e.Conflict = effect == payout.Conflicting
		e.Run = w.s.run.Load()
		r.withEvent(e)
		if err := r.thin(); err != nil {
			return store.Change{}, err
		}
		after.Events, after.Dropped = r.Events, r.Dropped
	}
	r.Payout = after
	return store.Change{Was: before.State, After: after, Effect: effect}, w.replace(&before, r)
}

// mask takes what a text of the gate repeats of the row's personal cells out of it:
// whatever is kept in the clear comes through here.
func (w *writer) mask(p payout.Payout, e *payout.Event) error {
	for _, at := range p.Places[:min(1, len(p.Places))] {
		header, err := w.header(at.Batch)
		if err != nil {
			return err
		}
		cells, err := w.cells(p, at)
		if err != nil {
			return err
		}
		e.Message = payout.WithoutCells(e.Message, header.Columns, cells)
	}
	return nil
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

// lifted reports whether what bars a payout from being freed is gone.
func (w *writer) lifted(p payout.Payout) (bool, error) {
	if p.Bar == (payout.Bar{}) {
		return false, nil
	}
	m, err := readMeta(w.tx)
	return err == nil && p.Bar.Lifted(clock.Boot(), clock.Machine(), m.epoch), err
}

// row is our side of a comparison. Of a payout that the gate has accepted it is not
// looked at.
func (w *writer) row(p payout.Payout) (row payout.Row, err error) {
	if p.Basis() == payout.BasisAccepted || len(p.Places) == 0 {
		return row, nil
	}
	at := p.Places[0]
	header, err := w.header(at.Batch)
	if err != nil {
		return row, err
	}
	cells, err := w.cells(p, at)
	if err != nil {
		return row, err
	}
	row.Since = header.LoadedAt
	for i, column := range header.Columns[:min(len(cells), len(header.Columns))] {
		switch column {
		case payout.FieldCustomer:
			row.Customer = cells[i]
		case payout.FieldAccount:
			row.Account = cells[i]
		}
	}
	if p.Basis() != payout.BasisNone {
		return row, nil
	}
	m, marker, err := w.s.ageOf(w.tx)
	if errors.Is(err, store.ErrNoMarker) {
		return row, nil // nothing is sent either; the stricter date holds
	}
	if err != nil {
		return row, err
	}
	since := m.claimed
	if m.epoch != 0 {
		since = m.copied
	}
	if row.Restored = marker > m.generation || m.epoch != 0; row.Restored && !since.IsZero() {
		row.Since = since
	}
	return row, nil
}
