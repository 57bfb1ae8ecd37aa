package batch

import (
	"sync"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// spent counts the attempts that payouts had in this run over all their claims,
// and knows those that had all of theirs.
type spent struct {
	mu    sync.Mutex
	tries map[payout.Key]int
	done  map[payout.Key]bool
}

// add counts surely unsent attempts; with as many as a run may make of one
// payout, it is spent.
func (s *spent) add(k payout.Key, tries, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries == nil {
		s.tries, s.done = map[payout.Key]int{}, map[payout.Key]bool{}
	}
	if s.tries[k] += tries; s.tries[k] >= most {
		s.done[k] = true
	}
}

// len is how many payouts are spent.
func (s *spent) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.done)
}

func (s *spent) has(k payout.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done[k]
}

// composers keeps one composer for each method of the batch.
type composers struct {
	mu       sync.Mutex
	byMethod map[string]*gate.Composer
}

func (c *composers) of(row *store.Claimed) (*gate.Composer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.byMethod[row.Method]; k != nil {
		return k, nil
	}
	k, err := gate.NewComposer(row.Method, row.Columns)
	if err != nil {
		return nil, err
	}
	if c.byMethod == nil {
		c.byMethod = map[string]*gate.Composer{}
	}
	c.byMethod[row.Method] = k
	return k, nil
}
