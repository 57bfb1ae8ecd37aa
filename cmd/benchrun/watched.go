package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// watched is a gate that accepts everything at once and remembers when it came.
type watched struct {
	base string
	mu   sync.Mutex
	at   []time.Time
}

func watch(ctx context.Context) (w *watched, stop func() error, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	w = &watched{base: "http://" + l.Addr().String()}
	s := &http.Server{Handler: w, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	return w, s.Close, nil
}

func (w *watched) ServeHTTP(res http.ResponseWriter, req *http.Request) {
	now := time.Now()
	w.mu.Lock()
	w.at = append(w.at, now)
	w.mu.Unlock()
	var asked struct {
		General struct {
			ProjectID uint32 `json:"project_id"`
			PaymentID string `json:"payment_id"`
		} `json:"general"`
	}
	_ = json.NewDecoder(req.Body).Decode(&asked)
	res.Header().Set("Content-Type", "application/json")
	// It names the payment, as only a gate does.
	_, _ = fmt.Fprintf(res, `{"status":"success","request_id":"1a23456bc7890de","project_id":%d,"payment_id":%q}`, asked.General.ProjectID, asked.General.PaymentID)
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
