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
	switch {
	case r.End == nil && r.Life == store.LifeGone:
		return ranRun{Run: r, Said: "exit.gone", Class: "check"}
	case r.End == nil && r.Life == store.LifeGoesOn:
		return ranRun{Run: r, Said: "exit.goes", Class: "open"}
	case r.End == nil:
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

// goesOn reports whether a run of a batch goes on, as far as that is known: a process that is
// not known to live is taken for one as long as something happens.
func goesOn(r *store.Run, b *store.Batch, now time.Time) bool {
	switch {
	case r.End != nil || r.Life == store.LifeGone:
		return false
	case r.Life == store.LifeGoesOn:
		return true
	}
	return now.Sub(r.At) < recently || now.Sub(b.ChangedAt) < recently
}

// wordless are the newest runs of each command and file that ended without a word of
// late, with none of the same after them.
func wordless(runs []store.Run, now time.Time) (list []store.Run) {
	const late = 24 * time.Hour
	later := map[[2]string]bool{}
	for _, r := range runs { // the newest first
		key := [2]string{r.Line(), r.Batch}
		if r.End == nil && r.Life == store.LifeGone && !later[key] && now.Sub(r.At) < late {
			list = append(list, r)
		}
		later[key] = true
	}
	return list
}

// How long the store may be without a backup, how many of the newest runs one is sought among,
// and how often.
const (
	backupWithin = 48 * time.Hour
	backupRuns   = 3000 // two days of one a minute
	backupEvery  = time.Minute
)

// backup is when the store was last copied, and since when that is known.
type backup struct {
	last  time.Time // zero: not since
	since time.Time // zero: as long as there is a store
}

func (p *Pages) backup(ctx context.Context) (b backup, err error) {
	b, _, err = lookFor(ctx, p, backupEvery, "backup", func(ctx context.Context) (b backup, err error) {
		runs, err := p.Source.LatestRuns(ctx, 0, backupRuns)
		if len(runs) == backupRuns {
			b.since = runs[len(runs)-1].At
		}
		for _, r := range runs {
			if r.Does("backup") && r.End != nil && r.End.ExitCode == 0 {
				b.last = r.End.At
				break
			}
		}
		return b, err
	})
	return b, err
}

// overdue reports whether the store was surely not copied for too long; first is when its
// oldest file that is known was loaded.
func (b backup) overdue(now, first time.Time) bool {
	from := b.last
	if from.IsZero() {
		from = first
		if b.since.After(from) {
			from = b.since
		}
	}
	return !from.IsZero() && now.Sub(from) > backupWithin
}
