package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// After a stop the line shows what is waited for, and how long at most; it promises no
// sending any more.
func TestProgressAfterAStop(t *testing.T) {
	t.Parallel()
	b := store.Batch{Rows: 9, Counts: []store.Count{
		{State: payout.StatePaid, N: 2}, {State: payout.StateAccepted, N: 3}, {State: payout.StateNew, N: 4},
	}}
	now := time.Date(2026, 11, 26, 2, 15, 0, 0, time.Local)
	p := &progress{wait: 30 * time.Minute, first: -1}
	require.Equal(t, "2 of 9 final, 4 to send, 3 open (accepted)", p.line(b, now))
	p.halted()
	p.halt = now
	require.Equal(t, "2 of 9 final, waiting for 3 outcomes, until 02:45 at most, sending stopped, 4 not sent", p.line(b, now))
	b.Counts = b.Counts[2:]
	require.Equal(t, "5 of 9 final, sending stopped, 4 not sent", p.line(b, now))
}
