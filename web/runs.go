package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"masspay/store"
)

// runsPage lists who ran what.
type runsPage struct {
	*view
	Runs      []ranRun
	Next      uint64
	Processes []beat
}

// beat is a process with how long ago it was last heard of.
type beat struct {
	store.Process
	Ago time.Duration
}

// ranRun is a run with how it ended.
type ranRun struct {
	store.Run
	Said  string // the id of the words
	Class string
	Took  time.Duration
}

func (p *Pages) runs(v *view, r *http.Request) (string, any, error) {
	before, _ := strconv.ParseUint(r.URL.Query().Get("before"), 10, 63)
	list, at, err := look(r.Context(), p, "runs "+strconv.FormatUint(before, 10), func(ctx context.Context) ([]store.Run, error) {
		return p.Source.LatestRuns(ctx, before, rowsAPage+1)
	})
	if err != nil {
		return "", nil, err
	}
	page := runsPage{view: v}
	if p.Processes != nil && before == 0 {
		all, _, err := look(r.Context(), p, "processes", p.Processes)
		if err != nil {
			return "", nil, err
		}
		for _, process := range all {
			page.Processes = append(page.Processes, beat{process, max(v.Now.Sub(process.Seen), 0)})
		}
	}
	for i, run := range list {
		if i == rowsAPage {
			page.Next = list[i-1].Number
			break
		}
		page.Runs = append(page.Runs, ranOf(run))
	}
	v.Title, v.Section, v.AsOf = v.T("runs.title"), "runs", at
	v.live(10*time.Second, true)
	return "runs", page, nil
}

// ranOf says how a run ended, by its exit code.
func ranOf(r store.Run) ranRun {
	if r.End == nil {
		return ranRun{Run: r, Said: "exit.none", Class: "open"}
	}
	out := ranRun{Run: r, Said: "exit." + strconv.Itoa(r.End.ExitCode), Class: "check", Took: r.End.At.Sub(r.At)}
	switch r.End.ExitCode {
	case 0:
		if out.Class = "paid"; !r.Sends() {
			out.Said, out.Class = "exit.done", "skipped"
		}
	case 3, 4:
		out.Class = "open"
	case 1, 10, 11, 12, 13, 130:
	default:
		out.Said = "exit.other"
	}
	return out
}
