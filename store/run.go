package store

import (
	"strings"
	"time"
)

// Run is one invocation that may change payouts: who, what and when.
type Run struct {
	Command string    `json:"command"`
	User    string    `json:"user"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Config  string    `json:"config"` // hash of the configuration, without secrets
	File    string    `json:"file,omitempty"`
	Batch   string    `json:"batch,omitempty"`
	Aliases []string  `json:"aliases,omitempty"` // gates that the configuration declares to be one platform
	Relaxed []string  `json:"relaxed,omitempty"` // flags that take something off the checks
	At      time.Time `json:"at"`

	Number uint64  `json:"-"`             // in the store, from 1
	End    *RunEnd `json:"end,omitempty"` // nil: it goes on, or it was killed

	Process uint64 `json:"process,omitempty"` // by which the store finds it again; 0: it does not
	Life    Life   `json:"life,omitempty"`    // of the process, as of now
}

// Life says whether the process of a run that has not ended is there. It is for people: no
// payout depends on it.
type Life string

// The lives. The zero value: it is not known, or the run has ended.
const (
	LifeGoesOn Life = "goes on"
	LifeGone   Life = "gone" // it was killed, or its machine was: it will not record how it ended
)

// Sends reports whether the run is one that pays a batch, masspay run.
func (r Run) Sends() bool { return r.Does("run") }

// Does reports whether a command of masspay is what was run.
func (r Run) Does(command string) bool {
	first, _, _ := strings.Cut(r.Command, " ")
	return first == command
}

// Line is what was typed, but for flags.
func (r Run) Line() string { return "masspay " + r.Command }

// RunEnd is how a run ended.
type RunEnd struct {
	At       time.Time `json:"at"`
	ExitCode int       `json:"exit_code"`
	Sent     int       `json:"sent,omitempty"`   // payout requests
	Polled   int       `json:"polled,omitempty"` // status requests that were answered
	Text     string    `json:"text,omitempty"`   // what was sent and what was not, for people

	// The result that was written: its absolute path, and the SHA-256 of its bytes.
	Result    string    `json:"result,omitempty"`
	ResultSum string    `json:"result_sha256,omitempty"`
	ResultAt  time.Time `json:"result_at,omitzero"` // before it was begun: what changed later is not in it
	Error     string    `json:"error,omitempty"`
}
