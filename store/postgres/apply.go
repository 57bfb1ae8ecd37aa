package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// Apply runs events through payout.Next in one commit; see store.Store. An *unsureError's
// commit may have come through: to apply the same events again changes nothing more.
func (s *Store) Apply(ctx context.Context, events ...payout.Event) (changes []store.Change, err error) {
	if len(events) == 0 {
		return nil, nil
	}
	a := &applying{s: s, events: events, ids: make([]payout.Digest, len(events))}
	for i := range events {
		a.ids[i] = s.sealer.DigestID(events[i].Key)
	}
	again, err := a.try(ctx, false)
	if err == nil && again {
		_, err = a.try(ctx, true)
	}
	if err != nil {
		return nil, err
	}
	return a.changes, nil
}

// applying is one call of Apply.
type applying struct {
	s       *Store
	events  []payout.Event
	ids     []payout.Digest
	changes []store.Change

	w     *writer
	found map[payout.Digest]*codec.Record
}

// In line with all others, payouts are locked in the order of their numbers. What an id
// leads to is read in the same statement: a load may change that meanwhile only for ids of
// cancelled payouts, and for those that are not known; see try.
const selectApply = `select i.id, ` + payoutColumns + ` from @ids i join @payouts p on p.number = i.payout where i.id = any($1::uuid[]) order by p.number for no key update of p`

// try applies the events. Where one is about an id that is not known, or was cancelled, a
// load may be bringing it: again says that nothing was done, and that it is to be tried
// alone, with the loads kept away.
func (a *applying) try(ctx context.Context, alone bool) (again bool, err error) {
	a.found, a.changes = map[payout.Digest]*codec.Record{}, make([]store.Change, 0, len(a.events))
	ids := slices.Clone(a.ids)
	slices.SortFunc(ids, func(x, y payout.Digest) int { return slices.Compare(x[:], y[:]) })
	ids = slices.Compact(ids)
	err = a.s.write(ctx, func(b *pgx.Batch) {
		if alone {
			b.Queue(lockAlone, a.s.lockNumber(lockEarly))
		}
	}, func(ctx context.Context, t *tx) error {
		a.w = t.writer(ctx)
		if err := a.read(ctx, ids); err != nil {
			return err
		}
		if again = !alone && a.unsettled(); again {
			return nil
		}
		b := &pgx.Batch{}
		for i := range a.events {
			change, err := a.one(b, i)
			if err != nil {
				return err
			}
			a.changes = append(a.changes, change)
		}
		if err := a.w.flush(b); err != nil {
			return err
		}
		if _, err := t.note(ctx, b, a.w.notes...); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
	return again, err
}

// read locks and reads the payouts, and the rows that reports are compared with.
func (a *applying) read(ctx context.Context, ids []payout.Digest) error {
	rows, err := a.w.t.c.Query(ctx, a.s.sql(selectApply), uuids(ids))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id [16]byte
		var r row
		if err := rows.Scan(append([]any{&id}, r.into()...)...); err != nil {
			return err
		}
		if err := a.w.keep(&r); err != nil {
			return err
		}
		a.found[id] = a.w.records[uint64(r.number)]
	}
	if err := rows.Err(); err != nil {
		return err
	}
	places := map[payout.Place]bool{}
	for i := range a.events {
		e, r := &a.events[i], a.found[a.ids[i]]
		if r == nil {
			continue
		}
		if r.Key != e.Key {
			return fmt.Errorf("%w: the id of %s leads to another payout", store.ErrDamaged, e.Key)
		}
		if len(r.Places) > 0 && (e.Message != "" || e.Report() && r.Basis() != payout.BasisAccepted) {
			places[r.Places[0]] = true
		}
	}
	if len(places) == 0 {
		return nil
	}
	return a.w.readCells(slices.Collect(maps.Keys(places)))
}

// unsettled reports whether a load may be changing what an id leads to.
func (a *applying) unsettled() bool {
	for i := range a.events {
		e, r := &a.events[i], a.found[a.ids[i]]
		if r == nil && keeps(e) || r != nil && r.State == payout.StateCancelled {
			return true
		}
	}
	return false
}

// keeps reports whether an event is kept until a file brings its id.
func keeps(e *payout.Event) bool { return e.Source == payout.FromCallback && e.Report() }

func (a *applying) one(b *pgx.Batch, i int) (store.Change, error) {
	e := a.events[i]
	if r := a.found[a.ids[i]]; r != nil {
		return a.w.apply(r, &e)
	}
	if !keeps(&e) {
		return store.Change{Effect: payout.Ignored}, nil
	}
	return a.w.keepEarly(b, a.ids[i], e)
}
