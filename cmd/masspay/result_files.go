package main

import (
	"context"

	"masspay/store"
)

// writtenResults are the results that the store knows to be written as files.
type writtenResults struct {
	ofRun map[string]store.Run // by batch: the run that wrote its result last
	there map[string]store.Run // by path: who wrote there last, a run or a report
	of    map[string]string    // by SHA-256: the batch, of what was ever written
}

// resultFiles reads where results were written.
func resultFiles(ctx context.Context, s store.Store) (writtenResults, error) {
	w := writtenResults{ofRun: map[string]store.Run{}, there: map[string]store.Run{}, of: map[string]string{}}
	for r, err := range s.Runs(ctx) {
		if err != nil {
			return w, err
		}
		if r.End == nil || r.End.Result == "" {
			continue
		}
		w.of[r.End.ResultSum] = r.Batch
		if r.Sends() {
			w.ofRun[r.Batch] = r
		}
		// Not in the order of runs: a reconcile writes anew for a run of before.
		if was, known := w.there[r.End.Result]; !known || !was.End.ResultAt.After(r.End.ResultAt) {
			w.there[r.End.Result] = r
		}
	}
	return w, nil
}

// pathOf is where the result of a batch is, as masspay wrote it last; else the suggested name.
func (w writtenResults) pathOf(b store.Batch) string {
	if r, ok := w.ofRun[b.ID]; ok && w.there[r.End.Result].Batch == b.ID {
		return r.End.Result
	}
	return suggested("", b.Name, "result")
}
