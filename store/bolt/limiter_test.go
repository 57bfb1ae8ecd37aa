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
)

func TestSlots(t *testing.T) {
	t.Parallel()
	const now = 100 * time.Hour
	const interval = 200 * time.Millisecond
	for _, tt := range []struct {
		name  string
		s     slots
		burst int
		want  time.Duration
	}{
		{"nothing yet", slots{}, 1, 0},
		{"long ago", slots{next: now - time.Hour}, 1, 0},
		{"a slot to come", slots{next: now + interval}, 1, interval},
		{"burst of three, long ago", slots{next: now - time.Hour}, 3, -2 * interval},
		{"burst of three, one left", slots{next: now - interval}, 3, -interval},
		{"paused", slots{next: now + interval, pause: now + time.Minute}, 1, time.Minute},
		{"paused in the past", slots{next: now + interval, pause: now - time.Minute}, 1, interval},
		{"a damaged slot", slots{next: now + 3*time.Hour}, 1, 0},
		{"a damaged pause", slots{next: now, pause: now + 3*time.Hour}, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, now+tt.want, tt.s.slot(now, interval, tt.burst))
		})
	}
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
				l, err := OpenLimiter(path, tt.rate, tt.burst)
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
		a, err := OpenLimiter(path, 5, 1)
		require.NoError(t, err)
		b, err := OpenLimiter(path, 5, 1)
		require.NoError(t, err)
		defer func() { require.NoError(t, errors.Join(a.Close(), b.Close())) }()
		start := time.Now()
		require.NoError(t, a.Wait(t.Context(), time.Second))
		waiting := make(chan error, 1)
		go func() { waiting <- b.Wait(t.Context(), time.Minute) }() // has taken the slot at 200 ms
		synctest.Wait()
		require.NoError(t, a.Pause(t.Context(), start.Add(20*time.Second)))
		require.NoError(t, a.Pause(t.Context(), start.Add(5*time.Second)), "an earlier end changes nothing")
		var paused *PausedError
		require.ErrorAs(t, a.Wait(t.Context(), time.Second), &paused)
		require.Equal(t, start.Add(20*time.Second), paused.PausedUntil())
		require.NoError(t, <-waiting)
		require.Equal(t, 20*time.Second, time.Since(start), "the pause reached who was waiting already")
	})
}

func TestLimiterGivesNoSlotToTheImpatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := OpenLimiter(filepath.Join(t.TempDir(), "store"), 0.1, 1)
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		require.NoError(t, l.Wait(t.Context(), 0))
		for range 5 {
			var paused *PausedError
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
			l, err := OpenLimiter(path, 5, 1)
			require.NoError(t, err)
			start := time.Now()
			require.NoError(t, l.Wait(t.Context(), time.Second))
			require.NoError(t, l.Wait(t.Context(), time.Second))
			require.Equal(t, 200*time.Millisecond, time.Since(start))
			require.NoError(t, l.Close())
		}
	})
}

// Slots of a lease that nobody used in time are gone: they must not let many go
// at once later.
func TestLimiterForgetsSlotsThatNobodyUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := OpenLimiter(filepath.Join(t.TempDir(), "store"), 1000, 1)
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		require.Greater(t, l.handful, 1)
		last := time.Now().Add(-time.Second)
		for i := range 500 {
			if i%7 == 0 {
				time.Sleep(time.Duration(i) * time.Millisecond) //nolint:forbidigo // virtual time
			}
			require.NoError(t, l.Wait(t.Context(), time.Second))
			require.GreaterOrEqual(t, time.Since(last), l.interval)
			last = time.Now()
		}
	})
}

// Requests that are late by as much as a slot is good for do not make any second
// too full.
func TestLimiterLeavesRoomForTheLate(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{1, 10, 100, 250, 300, 1000, 5000, 20_000} {
		l, err := OpenLimiter(filepath.Join(t.TempDir(), "store"), rate, 1)
		require.NoError(t, err)
		require.NoError(t, l.Close())
		slots := float64(time.Second+late+travel) / float64(l.interval)
		require.LessOrEqual(t, slots, rate+1.001, "slots in a second and what is late into it")
		require.GreaterOrEqual(t, float64(time.Second)/float64(l.interval), 0.992*rate)
	}
}

// Who was stopped while a slot was coming, for longer than it has time, gets none: its
// claim has been in its hands for too long.
func TestLimiterGrantsNothingWhenPatienceIsUsedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := OpenLimiter(filepath.Join(t.TempDir(), "store"), 5, 1)
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		stopped := 0
		stop := func(d time.Duration) {
			l.sleep = func(ctx context.Context, wait time.Duration) error {
				stopped++
				l.sleep = sleep
				return sleep(ctx, wait+d)
			}
		}
		require.NoError(t, l.Wait(t.Context(), time.Second))
		stop(10 * time.Second)
		var paused *PausedError
		require.ErrorAs(t, l.Wait(t.Context(), time.Second), &paused)
		require.NoError(t, l.Wait(t.Context(), time.Second), "the next one begins anew")
		stop(500 * time.Millisecond)
		require.NoError(t, l.Wait(t.Context(), time.Second), "there is time left")
		require.Equal(t, 2, stopped)
	})
}
