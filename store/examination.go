package store

import (
	"fmt"
	"slices"
)

// Examination is what Examine found.
type Examination struct {
	Batches, Rows, Payouts, Events int // looked at
	Wrong                          []string
	More                           int      // further findings that are not listed
	Notes                          []string // odd, and not wrong
}

// maxFindings are listed; a store that has more is not worth a longer list.
const maxFindings = 100

// Add notes what is wrong, once.
func (e *Examination) Add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(e.Wrong, text) {
		return
	}
	if len(e.Wrong) >= maxFindings {
		e.More++
		return
	}
	e.Wrong = append(e.Wrong, text)
}
