package web

import (
	"sync"
	"time"

	"masspay/payout"
	"masspay/store"
)

// What became of a callback.
const (
	heardChanged     = "changed"
	heardNoted       = "noted"
	heardRepeated    = "repeated"
	heardContradicts = "contradicts"
	heardKept        = "kept"
	heardSignature   = "bad_signature"
	heardProject     = "other_project"
	heardMalformed   = "malformed"
	heardNotAllowed  = "not_allowed"
	heardNotStored   = "not_stored"
)

// heardResults are all of them, those that were taken first.
var heardResults = []string{
	heardChanged, heardNoted, heardRepeated, heardContradicts, heardKept, heardSignature, heardProject, heardMalformed, heardNotAllowed, heardNotStored,
}

// How many callbacks of late are kept to be shown.
const (
	mostTaken   = 1000
	mostRefused = 200
)

// Heard counts the callbacks of this process, and keeps those of late, without their bodies.
// A nil one does neither.
type Heard struct {
	since time.Time

	mu      sync.Mutex
	counts  map[string]int64
	taken   ring
	refused ring
	last    time.Time // when one was taken
}

// NewHeard begins to count.
func NewHeard() *Heard { return &Heard{since: time.Now(), counts: map[string]int64{}} }

// heard is a callback as it is shown. Of one that was refused nothing is believed, so only
// where it came from is kept.
type heard struct {
	At           time.Time
	From         string
	Project      uint32
	ID           string
	Status, Code string
	Result       string
	Reason       string // why it was refused
}

// Key is the payout that it is about.
func (h heard) Key() payout.Key { return payout.Key{ProjectID: h.Project, PaymentID: h.ID} }

// ring keeps the newest of many.
type ring struct {
	all  []heard
	next int
}

func (r *ring) add(h heard, most int) {
	if len(r.all) < most {
		r.all = append(r.all, h)
		return
	}
	r.all[r.next] = h
	r.next = (r.next + 1) % most
}

// newest are those that are kept, the newest first.
func (r *ring) newest() []heard {
	out := make([]heard, 0, len(r.all))
	for i := len(r.all) - 1; i >= 0; i-- {
		out = append(out, r.all[(r.next+i)%len(r.all)])
	}
	return out
}

func (h *Heard) took(is heard) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[is.Result]++
	h.last = is.At
	h.taken.add(is, mostTaken)
}

func (h *Heard) refuse(is heard) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[is.Result]++
	h.refused.add(is, mostRefused)
}

// Counts are how many callbacks of each result there were.
func (h *Heard) Counts() map[string]int64 {
	counts := map[string]int64{}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, result := range heardResults {
		counts[result] = h.counts[result]
	}
	return counts
}

// resultOf is what became of a callback that is durable.
func resultOf(c store.Change) string {
	if c.Kept {
		return heardKept
	}
	switch effect(c) {
	case "changed":
		return heardChanged
	case "noted":
		return heardNoted
	case "known already":
		return heardRepeated
	}
	return heardContradicts
}

// silence is how long no callback must have come before that is told.
const silence = time.Hour

// silent reports whether no callback has come for an hour, of this process.
func (h *Heard) silent(now time.Time) bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.last
	if last.IsZero() {
		last = h.since
	}
	return now.Sub(last) > silence
}
