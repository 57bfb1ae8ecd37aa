package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Settings are what all processes of a store on many machines must have alike.
type Settings struct {
	Gate        string        `json:"gate"` // identity
	Aliases     []string      `json:"aliases,omitempty"`
	Rate        float64       `json:"rate"`
	Burst       int           `json:"burst"`
	StatusAfter time.Duration `json:"status_after"`
	QuietPeriod time.Duration `json:"quiet_period"`
	Synchronous bool          `json:"synchronous,omitempty"` // of the database's replication, as a person says
}

// Settled is a store that keeps settings for all machines. An embedded store needs none.
type Settled interface {
	// Settings returns what is kept.
	Settings(ctx context.Context) (Settings, error)
	// Settle keeps other settings from now on. It is ErrBusy while a process that sends
	// lives: that would go on with its own.
	Settle(ctx context.Context, s Settings) error
}

// Differ lists what a configuration says otherwise than a store, each with both values.
func (s Settings) Differ(stored Settings) (lines []string) {
	for _, v := range []struct {
		key          string
		here, stored any
	}{
		{"gate.base_url", s.Gate, stored.Gate},
		{"gate.aliases", list(s.Aliases), list(stored.Aliases)},
		{"gate.rate", s.Rate, stored.Rate},
		{"gate.burst", s.Burst, stored.Burst},
		{"gate.status_after", s.StatusAfter, stored.StatusAfter},
		{"gate.quiet_period", s.QuietPeriod, stored.QuietPeriod},
		{"store.synchronous", s.Synchronous, stored.Synchronous},
	} {
		if v.here != v.stored {
			lines = append(lines, fmt.Sprintf("%s: %v here, %v in the store", v.key, v.here, v.stored))
		}
	}
	return lines
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
