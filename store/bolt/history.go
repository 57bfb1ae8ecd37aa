package bolt

import (
	"encoding/binary"
	"fmt"
	"strings"

	"masspay/payout"
	"masspay/store"
)

// A payout keeps so many of its first and its last events, and all that a person, a
// reversal or a second payment brought. What a store has more of is thinned out now
// and then.
const (
	keptFirst = 16
	keptLast  = 16
	thinAt    = 48
)

// withEvent appends an event to those of a payout, which is as it was before it.
func (r *record) withEvent(ev *payout.Event) {
	e := encoder{b: make([]byte, 0, 128)}
	e.event(ev, r.Host, r.Amount)
	var size [binary.MaxVarintLen64]byte
	var all strings.Builder
	all.Grow(len(r.events) + len(e.b) + 2)
	all.WriteString(r.events)
	all.Write(binary.AppendUvarint(size[:0], uint64(len(e.b))))
	all.Write(e.b)
	r.events = all.String()
	r.Events++
}

// thin leaves out events from the middle when there are many.
func (r *record) thin() error {
	if r.Events < thinAt {
		return nil
	}
	events, err := r.history()
	if err != nil {
		return err
	}
	dropped := 0
	last := len(events) - keptLast
	gate := -1 // the event that named the payout's gate: later events count on it
	for i, ev := range events {
		if setsHost(ev.Kind) {
			gate = i
		}
	}
	thinned := record{Payout: payout.Payout{Key: r.Key, Amount: r.Amount}}
	for i, ev := range events {
		if i >= keptFirst && i < last && i != gate && !lasting(ev) {
			dropped++
			continue
		}
		thinned.withEvent(&ev)
		if setsHost(ev.Kind) {
			thinned.Host = ev.Host
		}
	}
	r.events, r.Events, r.old = thinned.events, thinned.Events, r.old || dropped > 0
	r.Dropped += dropped
	return nil
}

// lasting reports whether an event is kept for ever.
func lasting(ev payout.Event) bool {
	return ev.Conflict || ev.Kind == payout.Resolved || ev.Kind == payout.Unlisted || ev.Outcome == payout.StateReturned
}

// history decodes the events of a payout that are kept.
func (r *record) history() ([]payout.Event, error) {
	return readHistory(r, func(d *decoder, gate string) payout.Event { return d.event(gate, r.Amount) })
}

func readHistory(r *record, read func(d *decoder, gate string) payout.Event) ([]payout.Event, error) {
	d := decoder{b: []byte(r.events), text: r.events}
	events := make([]payout.Event, 0, min(r.Events, len(r.events)))
	gate := ""
	for d.left() > 0 {
		one := decoder{b: d.bytes()}
		ev := read(&one, gate)
		if d.bad || one.bad || one.left() > 0 || !ev.Kind.Valid() {
			return nil, fmt.Errorf("%w: event %d of payout number %d cannot be read", store.ErrDamaged, len(events)+1, r.Number)
		}
		if setsHost(ev.Kind) {
			gate = ev.Host
		}
		ev.Key = r.Key
		events = append(events, ev)
	}
	if len(events) != r.Events {
		return nil, fmt.Errorf("%w: payout number %d has %d events, want %d", store.ErrDamaged, r.Number, len(events), r.Events)
	}
	return events, nil
}

// setsHost reports whether an event's host becomes the payout's. Next says so;
// Examine replays what is decoded with it.
func setsHost(k payout.Kind) bool { return k == payout.Claimed || k == payout.Suspected }

// event writes an event of a payout.
func (e *encoder) event(ev *payout.Event, gate string, asked payout.Amount) {
	e.uint(uint64(ev.Kind))
	e.uint(uint64(ev.Source))
	e.maybeTime(ev.At)
	v := e.begin(eventMask)
	eventFields(&v, ev, gate, asked)
	v.end()
}

func (d *decoder) event(gate string, asked payout.Amount) (ev payout.Event) {
	ev.Kind = payout.Kind(d.uint())
	ev.Source = payout.Source(d.uint())
	ev.At = d.maybeTime()
	var of decoder
	v := d.begin(&of)
	eventFields(&v, &ev, gate, asked)
	v.endIn(d)
	return ev
}
