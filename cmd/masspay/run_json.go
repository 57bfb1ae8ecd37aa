package main

import (
	"time"

	"masspay/batch"
	"masspay/batch/result"
	"masspay/store"
)

// runJSON is what run prints with --json.
type runJSON struct {
	Batch       string             `json:"batch"`
	File        string             `json:"file"`
	Result      string             `json:"result,omitempty"`
	ExitCode    int                `json:"exit_code"`
	Rows        int                `json:"rows"`
	Sent        int                `json:"requests_sent"`
	Asked       int                `json:"questions_asked"`
	SentNow     sumJSON            `json:"sent_now"`
	KnownBefore sumJSON            `json:"known_before"`
	ByOthers    sumJSON            `json:"sent_by_others"`
	Earlier     []earlierJSON      `json:"known_before_from,omitempty"`
	NotSent     sumJSON            `json:"not_sent"`
	Arrived     sumJSON            `json:"arrived"`
	Stopped     string             `json:"stopped,omitempty"`
	Interrupted bool               `json:"interrupted,omitempty"`
	States      map[string]sumJSON `json:"states"`
}

// earlierJSON is who sent rows that were known before.
type earlierJSON struct {
	Batch string    `json:"batch"`
	File  string    `json:"file"`
	Rows  int       `json:"rows"`
	Last  time.Time `json:"last_sent_at,omitzero"`
}

type sumJSON struct {
	Rows    int              `json:"rows"`
	Amounts map[string]int64 `json:"amounts_minor"`
}

func runReport(b store.Batch, sum result.Summary, out batch.Ending, code int, output string) runJSON {
	return runJSON{
		Batch: b.ID, File: b.Name, Result: output, ExitCode: code, Rows: sum.Rows, Sent: out.Sent, Asked: out.Polled,
		SentNow: sumReport(sum.Now), KnownBefore: sumReport(sum.Before), ByOthers: sumReport(sum.Others), NotSent: sumReport(sum.Unsent), Arrived: sumReport(sum.Arrived),
		Stopped: out.Fenced + out.Refused + out.NoMoney + out.SameFailures + out.Held + out.Late, Interrupted: out.Interrupted, States: statesJSON(sum),
	}
}

func sumReport(s result.Sum) sumJSON { return sumJSON{s.Rows, s.Minor()} }

func statesJSON(sum result.Summary) map[string]sumJSON {
	states := map[string]sumJSON{}
	for word, s := range sum.ByState {
		states[word] = sumReport(s)
	}
	return states
}
