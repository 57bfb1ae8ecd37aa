package web

import (
	"time"

	"masspay/store"
)

// NewCommitter lets many callbacks share one commit. One that comes alone is written at
// once; two and more wait a moment for others.
func NewCommitter(s store.Applier) *store.Committer {
	const moment = 2 * time.Millisecond
	return store.NewCommitter(s, func(n int) time.Duration {
		if n < 2 {
			return 0
		}
		return moment
	})
}
