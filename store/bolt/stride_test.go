package bolt

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/store/storetest"
)

// A load's commits are as large as they may be while no one else wants the store, and so small
// while others wait that these wait some 150 ms.
func TestStride(t *testing.T) {
	t.Parallel()
	const rowTakes = 40 * time.Microsecond
	follow := func(n int, wanted bool) int {
		for range 40 {
			n = next(n, time.Duration(n)*rowTakes+2*time.Millisecond, wanted)
		}
		return n
	}
	alone := follow(1000, false)
	require.Equal(t, loadCommit, alone)
	watched := follow(loadCommit, true)
	require.InDelta(t, int(strideMost/rowTakes), watched, 500)
	require.Equal(t, strideLeast, next(strideLeast, time.Minute, true), "it goes on all the same")
	require.Equal(t, 5000, next(loadCommit, time.Minute, true), "one commit that took long is no rule")
	require.Equal(t, loadCommit, follow(watched, false))
}

// Who waits for a turn is seen by who has it.
func TestTurnsAreWanted(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s, other := w.Open(t).(*Store), w.Open(t).(*Store)
	storetest.Load(t, s, "a", storetest.Rows("a", 3))
	require.NoError(t, s.turn.take(t.Context()))
	require.False(t, s.turn.wanted())
	waits := make(chan error, 1)
	go func() {
		_, err := other.Latest(t.Context(), 0, 1)
		waits <- err
	}()
	require.Eventually(t, s.turn.wanted, 10*time.Second, time.Millisecond)
	require.NoError(t, s.turn.release())
	require.NoError(t, <-waits)
	require.NoError(t, s.turn.take(t.Context()))
	require.False(t, s.turn.wanted())
	require.NoError(t, s.turn.release())
}

// A load that others keep asking beside is the same load.
func TestALoadBesideReaders(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	w.o.Sound = new(atomic.Bool)
	s, other := w.Open(t).(*Store), w.Open(t)
	done := make(chan error)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := other.Latest(ctx, 0, 1); err != nil {
				done <- ctx.Err()
				return
			}
		}
	}()
	const rows = 21_000
	b := storetest.Load(t, s, "a", storetest.Rows("a", rows))
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, rows, b.Rows)
	require.True(t, w.o.Sound.Load(), "every page was looked at before the first was written")
	e, err := s.Examine(t.Context())
	require.NoError(t, err)
	require.Empty(t, e.Wrong)
	require.Equal(t, rows, e.Payouts)
}
