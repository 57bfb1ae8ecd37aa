package batch

import (
	"sync"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// spent are the payouts that had all their attempts of this run.
type spent struct {
	mu   sync.Mutex
	keys map[payout.Key]bool
}

func (s *spent) add(k payout.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = map[payout.Key]bool{}
	}
	s.keys[k] = true
}

func (s *spent) has(k payout.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[k]
}

// composers keeps one composer for each method of the batch.
type composers struct {
	mu       sync.Mutex
	byMethod map[string]*gate.Composer
}

func (c *composers) of(row store.Claimed) (*gate.Composer, error) {
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
