package store

import (
	"fmt"
	"time"
)

// HoldKind says who put a hold on a batch, and so who may lift it.
type HoldKind string

// The kinds of hold.
const (
	HeldByRun    HoldKind = "run"    // a run that stopped sending; the next run lifts it
	HeldByPerson HoldKind = "person" // only a person lifts it
)

// Hold keeps a batch from being claimed. It holds no personal data but who it was.
type Hold struct {
	Kind   HoldKind  `json:"kind"`
	Reason string    `json:"reason"`
	By     string    `json:"by"` // user@host
	At     time.Time `json:"at"`
}

// Replaces reports whether a hold takes the place of another one: what only a person
// lifts is not replaced by a run's.
func (h Hold) Replaces(was *Hold) bool {
	return was == nil || was.Kind == HeldByRun || h.Kind != HeldByRun
}

// HeldError is the error of Claim for a batch that is held. Nothing was claimed.
type HeldError struct{ Hold }

func (e *HeldError) Error() string {
	return fmt.Sprintf("held by %s since %s: %s", e.By, e.At.UTC().Format("2006-01-02 15:04:05"), e.Reason)
}
