// Package gatesim is a payment gateway that misbehaves on purpose. It speaks
// the Gate protocol over HTTP, sends signed callbacks, keeps everything in
// memory, and has a ledger of what was really paid, so that a test can hold a
// program's belief against the truth. It listens on loopback only and is not a
// model of any platform's inner life.
package gatesim

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault is a way to misbehave.
type Fault string

// The faults of a payout request, of its callbacks, and of polls.
const (
	CutUnread   Fault = "cut-unread"   // close the connection before reading the request
	CutBefore   Fault = "cut-before"   // read it, accept nothing, close the connection
	CutAfter    Fault = "cut-after"    // accept it, close the connection without an answer
	HangBefore  Fault = "hang-before"  // accept nothing, never answer
	HangAfter   Fault = "hang-after"   // accept it, never answer
	Late        Fault = "late"         // never answer, and accept it LateBy after it came
	Error500    Fault = "500-before"   // accept nothing, answer 500
	Accept500   Fault = "500-after"    // accept it, answer 500
	TooMany     Fault = "429"          // accept nothing, answer 429 with Retry-After
	HTML        Fault = "html"         // accept it, answer with some proxy's error page
	Garbage     Fault = "garbage"      // accept it, answer 200 with broken JSON
	Redirect    Fault = "redirect"     // accept nothing, answer 307 to itself
	Before403   Fault = "403-before"   // accept nothing, answer with some filter's 403 page
	After403    Fault = "403-after"    // accept it, answer with some filter's 403 page
	After404    Fault = "404-after"    // accept it, answer with some proxy's 404 page
	Accept429   Fault = "429-after"    // accept it, say so, with HTTP 429
	Early       Fault = "early"        // callback before the answer
	Twice       Fault = "twice"        // every callback twice
	Disorder    Fault = "disorder"     // "processing" again after the outcome
	Delayed     Fault = "delayed"      // callbacks DelayBy later
	Never       Fault = "never"        // no callback at all
	Unsigned    Fault = "unsigned"     // forged callbacks before the true one
	OtherAmount Fault = "other-amount" // the outcome names another amount
	OtherID     Fault = "other-id"     // a callback for an id that no one sent
	OddWord     Fault = "odd-word"     // a rare status of progress, before the outcome
	Stranger    Fault = "stranger"     // a signed callback about another's payment of the id, before the answer
	Split       Fault = "split"        // the payment is made in two parts
	Cascade     Fault = "cascade"      // one provider declines, the next one pays
	NewIDs      Fault = "new-ids"      // the operation has another id in every callback
	Regrouped   Fault = "regrouped"    // a signed body whose lines were regrouped, before the outcome
	Second      Fault = "second"       // a second payment, told after the first
	Word        Fault = "word"         // a status after the outcome that a person must read
	Exists      Fault = "exists"       // tell of a known id by callback, not by answer
	StatusError Fault = "status-error" // a poll gets 500
	StatusHTML  Fault = "status-html"  // a poll gets some proxy's 404 page
	Status3062  Fault = "status-3062"  // a poll gets "details not received"
	StatusHang  Fault = "status-hang"  // a poll gets no answer
	StatusStale Fault = "status-stale" // a poll gets "not found" of a payment that is there: once, and only if that was never said before
)

// Faults lists every fault.
var Faults = []Fault{
	CutUnread, CutBefore, CutAfter, HangBefore, HangAfter, Late, Error500, Accept500, TooMany, HTML, Garbage, Redirect,
	Early, Twice, Disorder, Delayed, Never, Unsigned, OtherAmount, OtherID, OddWord, Exists,
	Before403, After403, After404, Accept429, Stranger, Split, Cascade, NewIDs, Regrouped, Second, Word,
	StatusError, StatusHTML, Status3062, StatusHang, StatusStale,
}

// Says is what callbacks and status answers say of the receiver.
type Says string

// What may be said. The zero value is what the platform's own example says.
const (
	SaysCustomer Says = ""
	SaysBoth     Says = "both" // and the account
	SaysNothing  Says = "nothing"
)

// Config says how the gateway behaves. The zero value is polite and instant,
// and sends no callbacks.
type Config struct {
	Seed     uint64
	Projects map[uint32]string // secrets by project
	Callback string            // URL; empty: no callbacks

	Rates map[Fault]float64 // how often a fault strikes, 0 to 1

	Says         Says          // what callbacks and status answers say of the receiver
	PayEvery     bool          // pay every accepted POST, also of an id that is known
	Bare         bool          // answer "accepted" at once and remember nothing: for load tests
	OutcomeAfter time.Duration // from acceptance to outcome
	StatusLag    time.Duration // from acceptance until the status endpoint knows of it
	HangFor      time.Duration // how long a hanging request is held; default 60 s
	LateBy       time.Duration // default 5 s
	DelayBy      time.Duration // default 5 s
	RetryAfter   time.Duration // of a 429, in whole seconds; default 1 s
	CallbackGap  time.Duration // between tries of a callback that was not answered with 200; default 1 s
	CallbackTry  int           // tries of a callback; default 10

	Transport http.RoundTripper // for callbacks; default http.DefaultTransport
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&c.HangFor, time.Minute)
	set(&c.LateBy, 5*time.Second)
	set(&c.DelayBy, 5*time.Second)
	set(&c.RetryAfter, time.Second)
	set(&c.CallbackGap, time.Second)
	if c.CallbackTry == 0 {
		c.CallbackTry = 10
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	return c
}

// Hostile returns rates at which every fault strikes a small share of requests.
func Hostile() map[Fault]float64 {
	rates := map[Fault]float64{}
	for _, f := range []Fault{CutUnread, CutBefore, CutAfter, HangBefore, HangAfter, Late, Error500, Accept500, TooMany, HTML, Garbage, Redirect} {
		rates[f] = 0.01
	}
	for _, f := range []Fault{Early, Twice, Disorder, Delayed, Unsigned, OtherID, OddWord, Exists, Never, Split, Cascade, NewIDs, Regrouped} {
		rates[f] = 0.05
	}
	for _, f := range []Fault{StatusError, StatusHTML, Status3062, StatusHang, StatusStale} {
		rates[f] = 0.02
	}
	return rates
}

// ParseRates reads "fault=rate" pairs, as "cut-after=0.05".
func ParseRates(pairs []string) (map[Fault]float64, error) {
	rates := map[Fault]float64{}
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		var rate float64
		if _, err := fmt.Sscanf(value, "%g", &rate); !ok || err != nil || rate < 0 || rate > 1 {
			return nil, fmt.Errorf("fault %q: write it as cut-after=0.05", p)
		}
		if !slices.Contains(Faults, Fault(name)) {
			return nil, fmt.Errorf("fault %q is not one of %v", name, Faults)
		}
		rates[Fault(name)] = rate
	}
	return rates, nil
}

// Listen listens on a loopback address and refuses any other: the simulator
// must never be reachable, and never be taken for a gate.
func Listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s: the simulator listens on loopback only, e.g. 127.0.0.1:9090", address)
	}
	return new(net.ListenConfig).Listen(context.Background(), "tcp", address)
}
