package store

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
)

// applied is a store that remembers its commits. The event of a bad id cannot be written.
type applied struct {
	mu      sync.Mutex
	commits [][]string
	bad     string
	busy    bool
}

var errBad = errors.New("damaged")

func (a *applied) Apply(ctx context.Context, events ...payout.Event) ([]Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := make([]string, len(events))
	for i, e := range events {
		if ids[i] = e.Key.PaymentID; ids[i] == a.bad {
			return nil, errBad
		}
	}
	if a.busy {
		return nil, ErrBusy
	}
	a.commits = append(a.commits, ids)
	return make([]Change, len(events)), nil
}

func event(id int) payout.Event {
	return payout.Event{Key: payout.Key{ProjectID: 1, PaymentID: strconv.Itoa(id)}}
}

func never(int) time.Duration { return 0 }

// What is queued when the work ends is written: a gate's answer is not to be lost.
func TestCommitterWritesWhatIsQueuedAtTheEnd(t *testing.T) {
	t.Parallel()
	for range 20 { // by chance, what is queued is seen before the end
		a := &applied{}
		c := NewCommitter(a, never)
		const n = maxGroup // as many as the queue takes
		done := 0
		for i := range n {
			c.Put(event(i), func(_ *payout.Event, _ *Change, err error) {
				require.NoError(t, err)
				done++
			})
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		c.Run(ended)
		require.Equal(t, n, done)
		_, err := c.Commit(t.Context(), event(n))
		require.ErrorIs(t, err, ErrStopped)
	}
}

// Events that come together share a commit; a bad one has one of its own, and takes no
// other with it.
func TestCommitterGathers(t *testing.T) {
	t.Parallel()
	a := &applied{bad: "1"}
	c := NewCommitter(a, func(n int) time.Duration { return time.Duration(3-n) * time.Minute })
	errs := map[string]error{}
	for i := range 3 {
		c.Put(event(i), func(e *payout.Event, _ *Change, err error) { errs[e.Key.PaymentID] = err })
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c.Run(ended)
	require.NoError(t, errs["0"])
	require.ErrorIs(t, errs["1"], errBad)
	require.NoError(t, errs["2"])
	require.Equal(t, [][]string{{"0"}, {"2"}}, a.commits)

	a = &applied{}
	c = NewCommitter(a, func(n int) time.Duration { return time.Duration(3-n) * time.Minute })
	running, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(running) })
	var clients sync.WaitGroup
	for i := range 3 {
		clients.Go(func() {
			_, err := c.Commit(t.Context(), event(i))
			require.NoError(t, err)
		})
	}
	clients.Wait()
	stop()
	wg.Wait()
	require.Len(t, a.commits, 1, "the third one ends the waiting")
}

// A store that is busy is asked once: who waits for it decides whether to wait on.
func TestCommitterTellsThatTheStoreIsBusy(t *testing.T) {
	t.Parallel()
	c := NewCommitter(&applied{busy: true}, never)
	busy := 0
	for i := range 2 {
		c.Put(event(i), func(_ *payout.Event, _ *Change, err error) {
			require.ErrorIs(t, err, ErrBusy)
			busy++
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c.Run(ended)
	require.Equal(t, 2, busy)
}
