package store

import (
	"context"
	"time"
)

// Process is a process of masspay that has claimed, as a store on many machines knows it.
type Process struct {
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	Seen    time.Time `json:"seen"`             // when it last said that it lives; for people only
	Held    int       `json:"held"`             // payouts that it is sending
	Fenced  bool      `json:"fenced,omitempty"` // it was taken for dead
}

// Peopled is a store that knows the processes of many machines.
type Peopled interface {
	// Join enters this process before its first claim, so that Processes lists it.
	Join(ctx context.Context) error
	// Processes lists those that have not ended, and those that were taken for dead in the
	// last day, the oldest first.
	Processes(ctx context.Context) ([]Process, error)

	// Deaths is how many processes were ever taken for dead.
	Deaths(ctx context.Context) (int64, error)
}
