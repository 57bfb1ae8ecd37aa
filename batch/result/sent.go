package result

import (
	"sync"
	"time"
)

// Sent is what a run has sent: the payouts by their numbers. A nil one has sent
// nothing.
type Sent struct {
	begun time.Time
	mu    sync.Mutex
	bits  map[uint64]uint64
}

// NewSent is for a run that begins.
func NewSent(begun time.Time) *Sent { return &Sent{begun: begun, bits: map[uint64]uint64{}} }

// Add notes a payout that was sent.
func (s *Sent) Add(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bits[number/64] |= 1 << (number % 64)
}

// meanwhile reports whether a payout that this run did not send was first sent after the run
// began: by another process, here or on another machine.
func (s *Sent) meanwhile(first time.Time) bool {
	return s != nil && first.After(s.begun)
}

func (s *Sent) has(number uint64) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bits[number/64]>>(number%64)&1 == 1
}
