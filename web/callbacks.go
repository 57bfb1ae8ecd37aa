package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// maxCallback bounds the body of a callback; real ones have some kilobytes.
const maxCallback = 64 << 10

// Callbacks takes the gate's callbacks. It answers 200 only when what the
// callback says is durable, also for a repeat and for an id that is not known
// yet; 403 and nothing stored for a signature that does not match; 500 when the
// store cannot write, so that the gate sends it again. Sources take turns in having
// their callbacks read: one that floods it delays its own, and hardly another's.
type Callbacks struct {
	Keys      gate.Keys
	Committer *store.Committer
	Allow     []netip.Prefix // sources; empty: all
	Proxies   []netip.Prefix // whose X-Forwarded-For is believed; all behind another proxy are one source
	Log       *slog.Logger
	Heard     *Heard // counts them; nil: nobody does

	Took func(d time.Duration) // is told how long each took until its answer; nil: nobody is

	refusals sampled
	parsing  parseSlots
}

// warn logs a refusal, unless there are too many: a flood must not fill the disk.
func (c *Callbacks) warn(log *slog.Logger, text string, args ...any) {
	write, left := c.refusals.next(time.Now())
	if left > 0 {
		c.Log.Warn("callbacks refused and not logged one by one", "count", left)
	}
	if write {
		log.Warn(text, args...)
	}
}

// Mux serves callbacks at a path, also with a slash behind it. What is sent elsewhere
// is answered 404 and logged with the right path: mostly a slip in what the platform was
// told.
func (c *Callbacks) Mux(path string) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle(path, c)
	if !strings.HasSuffix(path, "/") {
		mux.Handle(path+"/{$}", c)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			const longest = 200
			c.warn(c.Log.With("from", clientIP(r, c.Proxies).String()), "something was posted to another path and not taken; callbacks are taken at the right one",
				"path", r.URL.Path[:min(longest, len(r.URL.Path))], "right", path)
		}
		http.NotFound(w, r)
	})
	return mux
}

// sampled lets so many lines through in a second, and counts the others.
type sampled struct {
	mu     sync.Mutex
	second int64
	lines  int
	left   int
}

const maxRefusalLines = 10

// next reports whether to write a line, and how many were left out before, when
// that is to be told.
func (s *sampled) next(now time.Time) (write bool, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sec := now.Unix(); sec != s.second {
		s.second, s.lines = sec, 0
		left, s.left = s.left, 0
	}
	if s.lines++; s.lines > maxRefusalLines {
		s.left++
		return false, left
	}
	return true, left
}

func (c *Callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source := clientIP(r, c.Proxies)
	log := c.Log.With("from", source.String())
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "callbacks are posted", http.StatusMethodNotAllowed)
		return
	}
	if c.Took != nil {
		begun := time.Now()
		defer func() { c.Took(time.Since(begun)) }()
	}
	refuse := func(result, reason string) {
		c.Heard.refuse(heard{At: time.Now(), From: source.String(), Result: result, Reason: reason})
	}
	if !allowed(source, c.Allow) {
		refuse(heardNotAllowed, "not among callbacks.allow")
		c.warn(log, "callback refused: source is not allowed")
		http.Error(w, "not allowed", http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallback))
	if err != nil {
		refuse(heardMalformed, "too large, or cut off")
		c.warn(log, "callback not read", "reason", err.Error())
		http.Error(w, "body too large or cut off", http.StatusBadRequest)
		return
	}
	n, err := c.parse(r.Context(), source, body)
	switch {
	case r.Context().Err() != nil:
		return // no one waits any more
	case errors.Is(err, gate.ErrSignature), errors.Is(err, gate.ErrProject):
		why := heardSignature
		if errors.Is(err, gate.ErrProject) {
			why = heardProject
		}
		refuse(why, err.Error())
		c.warn(log, "callback refused, nothing was stored", "reason", err.Error())
		http.Error(w, "signature does not match", http.StatusForbidden)
		return
	case err != nil:
		refuse(heardMalformed, "not a callback")
		c.warn(log, "callback refused, nothing was stored", "reason", err.Error())
		http.Error(w, "not a callback", http.StatusBadRequest)
		return
	}
	change, err := c.Committer.Commit(r.Context(), n.Event(payout.FromCallback, "", time.Now()))
	if err != nil {
		refuse(heardNotStored, "the store could not write; the gate sends it again")
		log.Error("callback not stored, the gate will send it again", "payout", n.Key.String(), "status", n.Status, "code", n.Code, "reason", err.Error())
		http.Error(w, "not stored", http.StatusInternalServerError)
		return
	}
	// Dangerous to move up: 200 says that the report is durable.
	w.WriteHeader(http.StatusOK)
	c.Heard.took(heard{At: time.Now(), From: source.String(), Project: n.Key.ProjectID, ID: n.Key.PaymentID, Status: n.Status, Code: n.Code, Result: resultOf(change)})
	if n.TwoReadings {
		c.warn(log, "callback can be read in two ways, nothing of it is believed; the status is polled instead", "payout", n.Key.String())
		return
	}
	log.Info("callback", "payout", n.Key.String(), "status", n.Status, "code", n.Code, "effect", effect(change), "state", change.After.State.String())
}

// parse reads a body when a slot is free and it is the source's turn.
func (c *Callbacks) parse(ctx context.Context, source netip.Addr, body []byte) (gate.Notice, error) {
	if err := c.parsing.acquire(ctx, source); err != nil {
		return gate.Notice{}, err
	}
	defer c.parsing.release()
	return gate.ParseCallback(body, c.Keys)
}

func effect(c store.Change) string {
	if c.Kept {
		return "kept for later, the id is not known yet"
	}
	switch c.Effect {
	case payout.Changed:
		return "changed"
	case payout.Noted:
		return "noted"
	case payout.Conflicting:
		return "contradicts what is final, kept"
	}
	return "known already"
}
