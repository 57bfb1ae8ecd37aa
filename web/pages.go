package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// Source is what pages read: a store, and nothing that changes it.
type Source interface {
	store.Reader
	result.Kin
}

// Pages show people what became of the money. Every path answers GET and HEAD only; a page
// shows no cell of a file and no account whole, and can start, hold or decide nothing: what
// a person should do is there as a command to copy.
type Pages struct {
	Source   Source
	Restored func(ctx context.Context) (bool, error) // see store.Keeper
	Heard    *Heard                                  // callbacks of this process; nil: it takes none

	// Size is how large the store is and what its disk has left; nil: not known.
	Size func() (bytes, free uint64, err error)

	Copies bool // the store has no copies but those that masspay backup makes

	// Processes are those of all machines of the store; nil: it is one machine's, and does not
	// know them.
	Processes func(ctx context.Context) ([]store.Process, error)

	Rate     float64 // of requests a second, as agreed; 0: not known
	Rules    payout.Rules
	Projects []uint32       // whose ids are found
	Base     string         // path before all others, as /masspay; empty: none
	Zone     *time.Location // of times, unless the viewer chooses; nil: the machine's
	Version  string
	Log      *slog.Logger
	Now      func() time.Time // nil: time.Now

	looks looks
}

func (p *Pages) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// page makes what a template shows of a request.
type page func(v *view, r *http.Request) (template string, data any, err error)

// register adds all pages.
func (p *Pages) register(mux *http.ServeMux) {
	for pattern, show := range map[string]page{
		"/{$}":                p.batches,
		"/batches/{id}":       p.batch,
		"/batches/{id}/rows":  p.rows,
		"/payout":             p.payout,
		"/find":               p.find,
		"/exceptions":         p.exceptions,
		"/runs":               p.runs,
		"/callbacks":          p.callbacks,
		"/gate":               p.gate,
		"/compare":            p.compare,
		"/store":              p.storePage,
		"/settings":           p.settings,
		"/":                   func(*view, *http.Request) (string, any, error) { return "", nil, errNoPage },
		"/batches/{id}/{any}": func(*view, *http.Request) (string, any, error) { return "", nil, errNoPage },
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { p.show(w, r, show) })
	}
	mux.HandleFunc("/batches/{id}/result.csv", p.downloadResult)
	mux.HandleFunc("/batches/{id}/minutes.csv", p.downloadMinutes)
	mux.HandleFunc("/exceptions.csv", p.downloadExceptions)
	mux.HandleFunc("/settings/set", p.set)
	mux.HandleFunc("/assets/{hash}/{name}", serveAsset)
}

// errNoPage is for paths that lead nowhere.
var errNoPage = errors.New("there is no such page")

// show answers with a page, or with one that says what is wrong.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, of page) {
	v := p.view(r)
	name, data, err := of(v, r)
	status := http.StatusOK
	if err != nil {
		name, data, status = p.failed(v, err)
	}
	body, err := render(name, data)
	if err != nil { // a template that does not fit its data
		p.Log.Error("a page cannot be shown", "page", name, "because", err.Error())
		http.Error(w, "this page cannot be shown; the payouts are not touched by that", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	respond(w, r, status, "text/html; charset=utf-8", body)
}

// failure is a page that says what is wrong, and what that means for the money.
type failure struct {
	*view
	What, Hint string
	Paste      string // a command to copy
}

// badQuery is a question that cannot be answered as it was put; it is the id of its words.
type badQuery string

func (b badQuery) Error() string { return string(b) }

func (p *Pages) failed(v *view, err error) (name string, data any, status int) {
	f := failure{view: v}
	var bad badQuery
	switch {
	case errors.As(err, &bad):
		status, f.What, f.Hint = http.StatusBadRequest, v.T(string(bad)), v.T("fail.query.hint")
	case errors.Is(err, errNoPage):
		status, f.What, f.Hint = http.StatusNotFound, v.T("fail.page"), v.T("fail.page.hint")
	case errors.Is(err, store.ErrNoBatch):
		status, f.What, f.Hint = http.StatusNotFound, v.T("fail.batch"), v.T("fail.batch.hint")
	case errors.Is(err, store.ErrNoPayout):
		status, f.What, f.Hint = http.StatusNotFound, v.T("fail.payout"), v.T("fail.payout.hint")
	case errors.Is(err, store.ErrDamaged):
		status, f.What, f.Hint, f.Paste = http.StatusInternalServerError, v.T("fail.damaged"), v.T("fail.damaged.hint"), "masspay doctor"
		p.Log.Error("the store is damaged", "because", err.Error())
	default:
		status, f.What, f.Hint, f.Paste = http.StatusServiceUnavailable, v.T("fail.busy"), v.T("fail.busy.hint"), ""
		p.Log.Warn("the store cannot be read", "because", err.Error())
	}
	v.Title = f.What
	return "failure", f, status
}

// link is a path of these pages.
func (p *Pages) link(path string) string { return p.Base + path }
