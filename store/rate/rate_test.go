package rate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/store/clock"
)

// memory is a ledger of one process.
type memory struct{ s Slots }

func (m *memory) Change(fn func(s Slots, now time.Duration) (Slots, error)) error {
	now := clock.Tick().At
	if m.s == (Slots{}) {
		m.s = Forgotten(now)
	}
	s, err := fn(m.s, now)
	if err == nil {
		m.s = s
	}
	return err
}

func (*memory) Close() error { return nil }

func TestSlots(t *testing.T) {
	t.Parallel()
	const now = 100 * time.Hour
	const interval = 200 * time.Millisecond
	for _, tt := range []struct {
		name  string
		s     Slots
		burst int
		want  time.Duration
	}{
		{"nothing yet", Slots{}, 1, 0},
		{"long ago", Slots{Next: now - time.Hour}, 1, 0},
		{"a slot to come", Slots{Next: now + interval}, 1, interval},
		{"burst of three, long ago", Slots{Next: now - time.Hour}, 3, -2 * interval},
		{"burst of three, one left", Slots{Next: now - interval}, 3, -interval},
		{"paused", Slots{Next: now + interval, Pause: now + time.Minute}, 1, time.Minute},
		{"paused in the past", Slots{Next: now + interval, Pause: now - time.Minute}, 1, interval},
		{"a damaged slot", Slots{Next: now + 3*time.Hour}, 1, 0},
		{"a damaged pause", Slots{Next: now, Pause: now + 3*time.Hour}, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, now+tt.want, tt.s.slot(now, interval, tt.burst))
		})
	}
}

// Slots of a lease that no one used in time are gone: they must not let many go
// at once later.
func TestLimiterForgetsSlotsThatNobodyUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(&memory{}, 1000, 1)
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
		l := New(&memory{}, rate, 1)
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
		l := New(&memory{}, 5, 1)
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
		require.NoError(t, l.Wait(t.Context(), time.Second), "the next one begins again")
		stop(500 * time.Millisecond)
		require.NoError(t, l.Wait(t.Context(), time.Second), "there is time left")
		require.Equal(t, 2, stopped)

		// With a burst there are slots for several after the stop, and none is granted
		// to who has waited for too long.
		l.burst = 3
		for range 5 {
			require.NoError(t, l.Wait(t.Context(), time.Second))
		}
		stop(time.Second)
		require.ErrorAs(t, l.Wait(t.Context(), time.Second), &paused)
		for range 3 {
			require.NoError(t, l.Wait(t.Context(), time.Second))
		}
	})
}
