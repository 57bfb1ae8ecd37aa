package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/store/rate"
)

func openLimiter(path string, perSecond float64, burst int) (*rate.Limiter, error) {
	f, err := openRateFile(path)
	if err != nil {
		return nil, err
	}
	return rate.New(f, perSecond, burst), nil
}

// The rate holds for all who share the file, in every window.
func TestLimiterHoldsTheRateForAll(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rate  float64
		burst int
	}{{5, 1}, {5, 4}, {100, 1}, {1000, 10}} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			var mu sync.Mutex
			var went []time.Time
			var wg sync.WaitGroup
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for range 3 { // processes
				l, err := openLimiter(path, tt.rate, tt.burst)
				require.NoError(t, err)
				for range 4 { // workers
					wg.Go(func() {
						for l.Wait(ctx, time.Minute) == nil {
							mu.Lock()
							went = append(went, time.Now())
							mu.Unlock()
						}
					})
				}
				defer func() { _ = l.Close() }()
			}
			wg.Wait()
			slices.SortFunc(went, time.Time.Compare)
			for i, j := 0, 0; j < len(went); j++ {
				for went[j].Sub(went[i]) >= time.Second {
					i++
				}
				require.LessOrEqual(t, j-i+1, int(tt.rate)+tt.burst)
			}
			require.GreaterOrEqual(t, len(went), int(tt.rate*10*0.98), "and the rate is used")
		})
	}
}

func TestLimiterPauseHoldsForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		a, err := openLimiter(path, 5, 1)
		require.NoError(t, err)
		b, err := openLimiter(path, 5, 1)
		require.NoError(t, err)
		defer func() { require.NoError(t, errors.Join(a.Close(), b.Close())) }()
		start := time.Now()
		require.NoError(t, a.Wait(t.Context(), time.Second))
		waiting := make(chan error, 1)
		go func() { waiting <- b.Wait(t.Context(), time.Minute) }() // has taken the slot at 200 ms
		synctest.Wait()
		require.NoError(t, a.Pause(t.Context(), start.Add(20*time.Second)))
		require.NoError(t, a.Pause(t.Context(), start.Add(5*time.Second)), "an earlier end changes nothing")
		var paused *rate.PausedError
		require.ErrorAs(t, a.Wait(t.Context(), time.Second), &paused)
		require.Equal(t, start.Add(20*time.Second), paused.PausedUntil())
		require.NoError(t, <-waiting)
		require.Equal(t, 20*time.Second, time.Since(start), "the pause reached who was waiting already")
	})
}

func TestLimiterGivesNoSlotToTheImpatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := openLimiter(filepath.Join(t.TempDir(), "store"), 0.1, 1)
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		require.NoError(t, l.Wait(t.Context(), 0))
		for range 5 {
			var paused *rate.PausedError
			require.ErrorAs(t, l.Wait(t.Context(), time.Second), &paused)
		}
		start := time.Now()
		require.NoError(t, l.Wait(t.Context(), time.Minute))
		require.Equal(t, 10*time.Second, time.Since(start), "refused waits took nothing")
	})
}

// What an earlier boot, or an older masspay, has written does not count.
func TestLimiterAfterAReboot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		for _, old := range [][]byte{make([]byte, 16), bytes.Repeat([]byte{0x7f}, 16), bytes.Repeat([]byte{0x7f}, 24), {1}} {
			require.NoError(t, os.WriteFile(path+".rate", old, 0o600))
			l, err := openLimiter(path, 5, 1)
			require.NoError(t, err)
			start := time.Now()
			require.NoError(t, l.Wait(t.Context(), time.Second))
			require.NoError(t, l.Wait(t.Context(), time.Second))
			require.Equal(t, 200*time.Millisecond, time.Since(start))
			require.NoError(t, l.Close())
		}
	})
}
