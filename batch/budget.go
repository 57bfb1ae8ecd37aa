package batch

import (
	"maps"
	"slices"
	"sync"

	"masspay/payout"
)

// retryBudget counts the attempts that payouts had in this run over all their claims,
// and knows those that had all of theirs.
type retryBudget struct {
	mu    sync.Mutex
	tries map[payout.Key]int
	done  map[payout.Key]bool
}

// add counts attempts that were not sent; with as many as a run may make of one
// payout, it is spent.
func (b *retryBudget) add(k payout.Key, tries, most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tries == nil {
		b.tries, b.done = map[payout.Key]int{}, map[payout.Key]bool{}
	}
	if b.tries[k] += tries; b.tries[k] >= most {
		b.done[k] = true
	}
}

// spent is how many payouts have used theirs up.
func (b *retryBudget) spent() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.done)
}

func (b *retryBudget) isSpent(k payout.Key) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done[k]
}

// all are the payouts that have used theirs up.
func (b *retryBudget) all() []payout.Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.done))
}
