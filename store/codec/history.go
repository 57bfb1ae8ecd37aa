package codec

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
	ThinAt    = 48
)

// WithEvent appends an event to those of a payout, which is as it was before it.
func (r *Record) WithEvent(ev *payout.Event) {
	e := Encoder{B: make([]byte, 0, 128)}
	e.event(ev, r.Host, r.Amount)
	var size [binary.MaxVarintLen64]byte
	var all strings.Builder
	all.Grow(len(r.Log) + len(e.B) + 2)
	all.WriteString(r.Log)
	all.Write(binary.AppendUvarint(size[:0], uint64(len(e.B))))
	all.Write(e.B)
	r.Log = all.String()
	r.Events++
}

// Thin leaves out events from the middle when there are many.
func (r *Record) Thin() error {
	if r.Events < ThinAt {
		return nil
	}
	events, err := r.History()
	if err != nil {
		return err
	}
	dropped := 0
	last := len(events) - keptLast
	gate := -1 // the event that named the payout's gate: later events count on it
	for i, ev := range events {
		if SetsHost(ev.Kind) {
			gate = i
		}
	}
	thinned := Record{Payout: payout.Payout{Key: r.Key, Amount: r.Amount}}
	for i, ev := range events {
		if i >= keptFirst && i < last && i != gate && !lasting(ev) {
			dropped++
			continue
		}
		thinned.WithEvent(&ev)
		if SetsHost(ev.Kind) {
			thinned.Host = ev.Host
		}
	}
	r.Log, r.Events, r.Old = thinned.Log, thinned.Events, r.Old || dropped > 0
	r.Dropped += dropped
	return nil
}

// lasting reports whether an event is kept for ever.
func lasting(ev payout.Event) bool {
	return ev.Conflict || ev.Kind == payout.Resolved || ev.Kind == payout.Unlisted || ev.Outcome == payout.StateReturned
}

// History decodes the events of a payout that are kept.
func (r *Record) History() ([]payout.Event, error) {
	return ReadHistory(r, func(d *Decoder, gate string) payout.Event { return d.event(gate, r.Amount) })
}

// ReadHistory decodes the events of a payout with a function that reads one of them, given
// the gate that the payout had by then.
func ReadHistory(r *Record, read func(d *Decoder, gate string) payout.Event) ([]payout.Event, error) {
	d := Decoder{b: []byte(r.Log), text: r.Log}
	events := make([]payout.Event, 0, min(r.Events, len(r.Log)))
	gate := ""
	for d.Left() > 0 {
		one := Decoder{b: d.Bytes()}
		ev := read(&one, gate)
		if d.Bad || one.Bad || one.Left() > 0 || !ev.Kind.Valid() {
			return nil, fmt.Errorf("%w: event %d of payout number %d cannot be read", store.ErrDamaged, len(events)+1, r.Number)
		}
		if SetsHost(ev.Kind) {
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

// SetsHost reports whether an event's host becomes the payout's. Next says so;
// Examine replays what is decoded with it.
func SetsHost(k payout.Kind) bool { return k == payout.Claimed || k == payout.Suspected }

// event writes an event of a payout.
func (e *Encoder) event(ev *payout.Event, gate string, asked payout.Amount) {
	e.Uint(uint64(ev.Kind))
	e.Uint(uint64(ev.Source))
	e.MaybeTime(ev.At)
	v := e.Begin(eventMask)
	eventFields(&v, ev, gate, asked)
	v.End()
}

func (d *Decoder) event(gate string, asked payout.Amount) (ev payout.Event) {
	ev.Kind = payout.Kind(d.Uint())
	ev.Source = payout.Source(d.Uint())
	ev.At = d.MaybeTime()
	var of Decoder
	v := d.Begin(&of)
	eventFields(&v, &ev, gate, asked)
	v.EndIn(d)
	return ev
}
