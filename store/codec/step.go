package codec

import (
	"time"

	"masspay/payout"
	"masspay/store"
)

// Surroundings are what a store knows of a payout beside its record. A step asks only for
// what it needs; all of it must be as of the transaction that writes the record.
type Surroundings interface {
	// Tick is a moment on the store's clock, not earlier than when the event came.
	Tick() payout.Tick
	// Lifted reports whether what bars the payout from being freed is gone.
	Lifted(payout.Bar) (bool, error)
	// Place returns the row that a payout is sent from, with the header of its batch.
	Place(*payout.Payout) (store.Batch, []string, error)
	// Copied reports whether the store is a restored copy, and when that last claimed.
	Copied() (restored bool, since time.Time, err error)
}

// Step runs one event through payout.Next, and keeps it where it is worth it. A report is
// compared with the row first, and what the gate's text repeats of the row is masked. It
// fills in what the event says of that. The record is written only by whoever calls it,
// unless the event was ignored.
func (r *Record) Step(rules payout.Rules, e *payout.Event, run uint64, in Surroundings) (store.Change, error) {
	before := r.Payout
	if e.Kind == payout.NotSeen {
		if e.Applied.Boot == 0 {
			e.Applied = in.Tick()
		}
		e.Lifted = false
		if before.Bar != (payout.Bar{}) {
			lifted, err := in.Lifted(before.Bar)
			if err != nil {
				return store.Change{}, err
			}
			e.Lifted = lifted
		}
	}
	if e.Report() {
		row, err := ourSide(&before, in)
		if err != nil {
			return store.Change{}, err
		}
		e.Match, e.Field = payout.MatchPayment(before, row, *e)
	}
	if e.Message != "" && len(before.Places) > 0 {
		header, cells, err := in.Place(&before)
		if err != nil {
			return store.Change{}, err
		}
		e.Message = payout.WithoutCells(e.Message, header.Columns, cells)
	}
	after, effect := payout.Next(rules, before, *e)
	if effect == payout.Ignored {
		return store.Change{Was: before.State, After: after, Effect: effect}, nil
	}
	if effect != payout.Noted {
		e.Conflict = effect == payout.Conflicting
		e.Run = run
		r.WithEvent(e)
		if err := r.Thin(); err != nil {
			return store.Change{}, err
		}
		after.Events, after.Dropped = r.Events, r.Dropped
	}
	r.Payout = after
	return store.Change{Was: before.State, After: after, Effect: effect}, nil
}

// ourSide is our side of a comparison. Of a payout that the gate has accepted the row is
// not looked at.
func ourSide(p *payout.Payout, in Surroundings) (row payout.Row, err error) {
	if p.Basis() == payout.BasisAccepted || len(p.Places) == 0 {
		return row, nil
	}
	header, cells, err := in.Place(p)
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
	restored, since, err := in.Copied()
	if row.Restored = restored; restored && !since.IsZero() {
		row.Since = since
	}
	return row, err
}
