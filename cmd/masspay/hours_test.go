package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHours(t *testing.T) {
	t.Parallel()
	at := func(text string) time.Time {
		zone, err := time.LoadLocation("Asia/Bishkek")
		require.NoError(t, err)
		is, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
		require.NoError(t, err)
		return is
	}
	// 2026-11-27 is a Friday.
	for _, tt := range []struct {
		hours     []string
		now       string
		until     string // "": it is closed; "-": without an end
		opensNext string
	}{
		{nil, "2026-11-27 03:00", "-", ""},
		{[]string{"mon-fri 08:00-20:00"}, "2026-11-27 08:00", "2026-11-27 20:00", ""},
		{[]string{"mon-fri 08:00-20:00"}, "2026-11-27 20:00", "", "2026-11-30 08:00"},
		{[]string{"mon-fri 08:00-20:00"}, "2026-11-27 07:59", "", "2026-11-27 08:00"},
		{[]string{"Mon-Fri 08:00-20:00", "sat,sun 10:00-12:00"}, "2026-11-27 21:00", "", "2026-11-28 10:00"},
		{[]string{"22:00-06:00"}, "2026-11-27 05:59", "2026-11-27 06:00", ""},
		{[]string{"22:00-06:00"}, "2026-11-27 23:00", "2026-11-28 06:00", ""},
		{[]string{"fri 22:00-06:00"}, "2026-11-28 01:00", "2026-11-28 06:00", ""},
		{[]string{"fri 22:00-06:00"}, "2026-11-27 01:00", "", "2026-11-27 22:00"},
		{[]string{"fri-mon 00:00-24:00"}, "2026-11-29 12:00", "2026-12-01 00:00", ""},
		{[]string{"00:00-24:00"}, "2026-11-27 12:00", "-", ""},
		{[]string{"08:00-12:00", "12:00-16:00"}, "2026-11-27 09:00", "2026-11-27 16:00", ""},
	} {
		h, problems := limitsConfig{Hours: tt.hours, Timezone: "Asia/Bishkek"}.hours()
		require.Empty(t, problems)
		until, ok := h.open(at(tt.now).UTC())
		require.Equal(t, tt.until != "", ok, "%v at %s", tt.hours, tt.now)
		switch tt.until {
		case "":
			require.True(t, h.next(at(tt.now).UTC()).Equal(at(tt.opensNext)), "%v at %s opens %v", tt.hours, tt.now, h.next(at(tt.now)))
		case "-":
			require.True(t, until.IsZero())
		default:
			require.True(t, until.Equal(at(tt.until)), "%v at %s: until %v", tt.hours, tt.now, until)
		}
	}
	for _, wrong := range []string{"", "mon", "mon 8-20", "mon-fri 8:00-20:00", "mo-fr 08:00-20:00", "mon 08:00-08:00", "mon 08:00-25:00", "mon 24:00-08:00", "mon 08:00"} {
		_, problems := limitsConfig{Hours: []string{wrong}}.hours()
		require.Len(t, problems, 1, wrong)
	}
	_, problems := limitsConfig{Timezone: "Bishkek"}.hours()
	require.Len(t, problems, 1)

	c := &config{Limits: limitsConfig{Timezone: "Asia/Bishkek"}}
	until, err := c.until("06:00", at("2026-11-27 05:00"))
	require.NoError(t, err)
	require.True(t, until.Equal(at("2026-11-27 06:00")))
	until, err = c.until("06:00", at("2026-11-27 06:00"))
	require.NoError(t, err)
	require.True(t, until.Equal(at("2026-11-28 06:00")))
	_, err = c.until("6", at("2026-11-27 06:00"))
	require.Error(t, err)
}
