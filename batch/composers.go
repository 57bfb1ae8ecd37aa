package batch

import (
	"sync"

	"masspay/gate"
	"masspay/store"
)

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
