package batch

import (
	"sync"
	"time"

	"masspay/gate"
	"masspay/payout"
)

// failureStreak counts identical failures in a row, as a circuit breaker does, and
// remembers how long to pause.
type failureStreak struct {
	mu    sync.Mutex
	kind  string // of the last failure
	n     int
	good  time.Time // when the last request that went well was started
	until time.Time
}

// count returns how many answers of a bad kind came in a row, this included.
// A request that was started before one that went well counts no more: many
// that hang come back together, long after the gate has recovered.
func (f *failureStreak) count(a gate.Answer, started time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Kind == payout.Accepted || a.Kind == payout.Taken {
		f.kind, f.n = "", 0
		if started.After(f.good) {
			f.good = started
		}
		return 0
	}
	if started.Before(f.good) {
		return 0
	}
	if kind := a.FailureKind(); kind != f.kind {
		f.kind, f.n = kind, 0
	}
	f.n++
	return f.n
}

func (f *failureStreak) pauseUntil(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at.After(f.until) {
		f.until = at
	}
}

func (f *failureStreak) pausedFor() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Until(f.until)
}
