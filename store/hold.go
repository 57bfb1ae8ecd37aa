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

	// HeldByBreaker is what a run puts on a batch of which too much goes wrong; only a
	// person lifts it.
	HeldByBreaker HoldKind = "breaker"

	// HeldByCanary is what a run puts on a batch whose first payouts go alone. That run lifts
	// it when they are paid; otherwise only a person does.
	HeldByCanary HoldKind = "canary"
)

// Hold keeps a batch from being claimed. It holds no personal data but who it was.
type Hold struct {
	Kind   HoldKind  `json:"kind"`
	Reason string    `json:"reason"`
	By     string    `json:"by"` // user@host
	At     time.Time `json:"at"`

	// Token is what the one run claims by that a canary's hold lets through.
	Token string `json:"token,omitempty"`
}

// Bars reports whether the hold keeps a claim from the batch.
func (h *Hold) Bars(c Claim) bool {
	return h != nil && (h.Kind != HeldByCanary || h.Token == "" || h.Token != c.Through)
}

// Replaces reports whether a hold takes the place of another one: what only a person
// lifts is replaced by a person's alone, but for a canary's by that of a later run, and by a
// breaker's.
func (h Hold) Replaces(was *Hold) bool {
	return was == nil || !was.Lasting() || h.Kind == HeldByPerson || was.Kind == HeldByCanary && (h.Kind == HeldByCanary || h.Kind == HeldByBreaker)
}

// Lasting reports whether only a person lifts it.
func (h *Hold) Lasting() bool { return h != nil && h.Kind != HeldByRun }

// PersonLifts are the kinds that a person lifts: all of them.
func PersonLifts() []HoldKind {
	return []HoldKind{HeldByRun, HeldByPerson, HeldByBreaker, HeldByCanary}
}

// HeldError is the error of Claim for a batch that is held. Nothing was claimed.
type HeldError struct{ Hold }

func (e *HeldError) Error() string {
	return fmt.Sprintf("held by %s since %s: %s", e.By, e.At.UTC().Format("2006-01-02 15:04:05"), e.Reason)
}
