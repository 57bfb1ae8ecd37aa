package web

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Admin is the private side: whether the process lives and can do its work, and pages for
// people.
type Admin struct {
	// Ready returns an error when the store cannot be read.
	Ready func(ctx context.Context) error

	Pages  *Pages // nil: none
	Access Access // to the pages

	// Metrics are figures for a monitoring system; nil: none. MetricsOpen: they need no token.
	Metrics     http.Handler
	MetricsOpen bool

	// Asked is told of each request: the pattern of its path, and how it was answered; nil:
	// nobody is told.
	Asked func(page string, code int)

	Log *slog.Logger
}

// Handler serves /healthz and /readyz to everybody, and the pages and /metrics to whom Access
// lets in. It
// answers GET and HEAD only, on every path.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		if err := a.Ready(ctx); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	if a.Metrics != nil {
		metrics := a.Metrics
		if !a.MetricsOpen {
			metrics = a.Access.guard(metrics, a.Log)
		}
		mux.Handle("/metrics", metrics)
	}
	if a.Pages != nil {
		pages := http.NewServeMux()
		a.Pages.register(pages)
		base := a.Pages.Base
		guarded := a.logged(a.Access.guard(http.StripPrefix(base, named(pages)), a.Log))
		mux.Handle(base+"/", guarded)
		if base != "" {
			mux.Handle("/", guarded)
		}
	}
	return readOnly(mux)
}

// contentPolicy lets pages have scripts and styles of this server only, and none in them.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// readOnly refuses every method that could mean a change, and sets what every answer has.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "GET and HEAD only: nothing here changes anything", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// logged writes a line about each request: who, what, how it went. What a page asks by itself,
// and files that belong to pages, are left out; so are queries, which name payments.
func (a *Admin) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(s, r)
		if a.Asked != nil {
			a.Asked(cmp.Or(s.page, "refused"), s.status)
		}
		if r.Header.Get("HX-Request") != "" && s.status < 500 || strings.Contains(r.URL.Path, "/assets/") {
			return
		}
		a.Log.Info("page", "who", s.who, "path", r.URL.Path, "status", s.status, "ms", time.Since(begun).Milliseconds())
	})
}

// named notes which page it is.
func named(pages *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages.ServeHTTP(w, r)
		if s, is := w.(*statusWriter); is {
			s.page = r.Pattern
		}
	})
}

// statusWriter remembers what a request was for, how it was answered, and to whom.
type statusWriter struct {
	http.ResponseWriter
	status int
	who    string
	page   string // pattern of its path; empty: it got to none
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
