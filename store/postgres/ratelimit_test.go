package postgres

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The shift between two clocks is the least that was seen, but for drift, and starts over
// when one was set.
func TestShiftBetweenClocks(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	require.Equal(t, 105*time.Millisecond, l.seen(time.Second, time.Second+105*time.Millisecond))
	require.Equal(t, 100*time.Millisecond, l.seen(2*time.Second, 2*time.Second+100*time.Millisecond), "an answer that came sooner")
	late := l.seen(3*time.Second, 3*time.Second+130*time.Millisecond)
	require.Less(t, late, 101*time.Millisecond, "one that came late")
	require.Greater(t, late, 100*time.Millisecond, "clocks drift")
	require.Equal(t, time.Hour, l.seen(4*time.Second, 4*time.Second+time.Hour), "the server's was set back")
	require.Equal(t, time.Duration(0), l.seen(5*time.Second+time.Hour, 5*time.Second+time.Hour), "and forward")
}
