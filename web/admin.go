package web

import (
	"context"
	"io"
	"net/http"
	"time"
)

// Admin is the private side: whether the process lives, and whether it can do
// its work.
type Admin struct {
	// Ready returns an error when the store cannot be read.
	Ready func(ctx context.Context) error
}

// Handler serves /healthz and /readyz.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		if err := a.Ready(ctx); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	return mux
}
