package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"masspay/gate/gatesim"
)

// watched is a gate that accepts everything at once and remembers when payouts came.
type watched struct {
	base    string
	latency time.Duration // until it answers
	sim     *gatesim.Sim
	mu      sync.Mutex
	at      []time.Time
}

func watch(ctx context.Context) (w *watched, stop func() error, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	w = &watched{base: "http://" + l.Addr().String(), sim: gatesim.New(gatesim.Config{Bare: true, Projects: map[uint32]string{1234: "secret"}})}
	s := &http.Server{Handler: w, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	return w, func() error { w.sim.Close(); return s.Close() }, nil
}

func (w *watched) ServeHTTP(res http.ResponseWriter, req *http.Request) {
	now := time.Now()
	if !strings.Contains(req.URL.Path, "/status") {
		w.mu.Lock()
		w.at = append(w.at, now)
		w.mu.Unlock()
	}
	if w.latency > 0 {
		<-time.After(w.latency)
	}
	w.sim.ServeHTTP(res, req)
}

// seen returns when the requests came, from the first-th on.
func (w *watched) seen(first int) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[min(first, len(w.at)):]
}

// await waits until more than so many requests have come, and returns when the
// next one did.
func (w *watched) await(ctx context.Context, n int) (time.Time, error) {
	for {
		if at := w.seen(n); len(at) > 0 {
			return at[0], nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}
