package bolt

import (
	"context"
	"time"

	"go.etcd.io/bbolt"
)

// stride is how many rows a commit of a load takes: as many as it may while no one else
// wants the store, and fewer while others wait, so that no commit keeps them for long.
// The zero value begins with as many as it may.
type stride struct{ n int }

// How long a commit may keep others, and how few rows it takes at the least.
const (
	strideMost  = 150 * time.Millisecond // each costs two syncs of the disk: with 40 ms a watched run takes a seventh longer
	strideLeast = 500
)

func (s *stride) rows() int {
	if s.n == 0 {
		return loadCommit
	}
	return s.n
}

// commit is one commit, after which the next one may be larger or smaller.
func (s *stride) commit(ctx context.Context, of *Store, fn func(*bbolt.Tx) error) error {
	var took time.Duration
	var wanted bool
	err := of.burst(ctx, func(db *bbolt.DB) error {
		begun := time.Now()
		defer func() { took, wanted = time.Since(begun), of.turn.wanted() }()
		return of.write(db, fn)
	})
	s.n = next(s.rows(), took, wanted)
	return err
}

// next is how many rows come next, after a commit of n.
func next(n int, took time.Duration, wanted bool) int {
	switch {
	case !wanted:
		n += n / 8 // whoever reads comes again soon
	case took > strideMost:
		n = max(n/2, n*int(strideMost)/int(took)) // at most by half: one slow disk is no rule
	case took < strideMost/2:
		n += n / 4
	}
	return min(max(n, strideLeast), loadCommit)
}
