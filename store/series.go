package store

import (
	"fmt"

	"masspay/payout"
)

// Series is the number of a file in a series: that one was lost, or came twice, shows.
type Series struct {
	Name   string `json:"name"`
	Number uint64 `json:"number"` // from 1
}

// ActSeries is what a person does who passes over a gap in a series.
const ActSeries Act = "series"

// Follows checks that a file comes after the last one of its series; last is 0 where there
// is none yet: a series begins with any number. The error is a *SeriesError.
func (s Series) Follows(last uint64) error {
	if last == 0 && s.Number > 0 || s.Number == last+1 {
		return nil
	}
	return &SeriesError{s, last}
}

// SeriesError says that a file is not the next one of its series. Nothing was loaded.
type SeriesError struct {
	Series
	Last uint64
}

func (e *SeriesError) Error() string {
	why := "was a file lost?"
	if e.Number <= e.Last {
		why = "did this one come in already?"
	}
	return fmt.Sprintf("series %s: %s came, %s is next (%s was the last): %s", e.Name, payout.FormatNumber(e.Number), payout.FormatNumber(e.Last+1), payout.FormatNumber(e.Last), why)
}

// SeriesEntry is what passing over a gap leaves in the log.
func SeriesEntry(s Series, last uint64, person, reason string) Entry {
	return Entry{Act: ActSeries, Facts: map[string]string{
		"series": s.Name, "last": fmt.Sprint(last), "next": fmt.Sprint(s.Number), "person": person, "reason": reason,
	}}
}
