package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestForecast(t *testing.T) {
	t.Parallel()
	night := time.Date(2026, 11, 25, 1, 30, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		n    int
		rate float64
		now  time.Time
		want string
	}{
		{"a moment", 50, 50, night, "sending 50 payouts at 50 requests a second takes about 1 s"},
		{"by morning", 10_000, 5, night, "sending 10,000 payouts at 5 requests a second takes about 33 min 20 s, until 02:03 if it starts now"},
		{"not by morning", 1_000_000, 20, night, "sending 1,000,000 payouts at 20 requests a second takes about 13 h 53 min, until 15:23 if it starts now\nhint: it will not be through by 08:00; that needs 43 requests a second (gate.rate), if your contract allows them, or an earlier start"},
		{"over midnight", 10_000, 1, night.Add(21 * time.Hour), "sending 10,000 payouts at 1 requests a second takes about 2 h 46 min, until 01:16 tomorrow if it starts now"},
		{"days", 1_000_000, 5, night, "sending 1,000,000 payouts at 5 requests a second takes about 2 days 7 h, until 09:03 on Friday, 27 November if it starts now\nhint: it will not be through by 08:00; that needs 43 requests a second (gate.rate), if your contract allows them, or an earlier start"},
		{"started in the morning", 10_000, 5, night.Add(6 * time.Hour), "sending 10,000 payouts at 5 requests a second takes about 33 min 20 s, until 08:03 if it starts now"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, forecast(tt.n, tt.rate, tt.now))
		})
	}
}
