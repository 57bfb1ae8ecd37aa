package gate

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"masspay/gate/transport"
	"masspay/payout"
)

// Limiter spaces the requests of all processes that share a store.
type Limiter interface {
	// Wait blocks until the next request may leave. When that is further away
	// than patience it returns a Paused error at once; nothing may be sent then.
	Wait(ctx context.Context, patience time.Duration) error
	// Pause keeps every process from sending until a time. An earlier time
	// than one already set changes nothing.
	Pause(ctx context.Context, until time.Time) error
}

// Paused is the error of a Limiter whose next slot is too far away.
type Paused interface {
	error
	PausedUntil() time.Time
}

// Poster sends one body to a target, at most once; see transport.Transport.Post, whose
// contract it is.
type Poster interface {
	Post(ctx context.Context, to *transport.Target, body []byte, mayLeave func(dialled bool) error) (res transport.Response, sent bool, err error)
}

// Client speaks to one gate. All requests, payouts and polls alike, pass
// its limiter; there is no way around. It is safe for concurrent use.
type Client struct {
	base     *url.URL
	identity string
	maySend  func(ctx context.Context, dialled bool) error
	keys     Keys
	limiter  Limiter
	poster   Poster
	timeout  time.Duration
	header   http.Header // of every request
	targets  sync.Map    // *transport.Target by path
}

// Options are what a client is made of. BaseURL, Keys and Limiter are needed.
type Options struct {
	BaseURL   string
	Keys      Keys
	Limiter   Limiter
	Timeout   time.Duration // of one request, from dialling to the last byte; default 30 s
	Transport Poster        // default: transport.New
	Version   string        // for the User-Agent header

	// MaySend is asked directly before the first byte of a payout request; dialled
	// says that its connection is new. With an error nothing is sent, and the answer
	// says Fenced. nil: always.
	MaySend func(ctx context.Context, dialled bool) error
}

// NewClient checks the options. It opens no connection.
func NewClient(o Options) (*Client, error) {
	identity, err := payout.GateIdentity(o.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("gate.base_url: %w", err)
	}
	base, err := url.Parse(strings.TrimRight(o.BaseURL, "/"))
	if err != nil {
		return nil, errors.New("gate.base_url is not a URL")
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Transport == nil {
		o.Transport = transport.New(16)
	}
	return &Client{
		base: base, identity: identity, maySend: o.MaySend, keys: o.Keys, limiter: o.Limiter, timeout: o.Timeout, poster: o.Transport,
		header: http.Header{"Content-Type": {jsonType}, "Accept": {jsonType}, "User-Agent": {"masspay/" + o.Version}},
	}, nil
}

// Identity names the gate that the client speaks to, as payouts remember it; see
// payout.GateIdentity.
func (c *Client) Identity() string { return c.identity }

// Close lets go of idle connections.
func (c *Client) Close() {
	if t, ok := c.poster.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Answer is what became of a payout request. No network or protocol trouble is
// an error of Send: it is an answer.
type Answer struct {
	// Kind is Accepted, Taken, Refused, Unsent or Doubtful. The zero value is none of
	// payout's kinds; whoever finds it must take it for Doubtful.
	Kind      payout.Kind
	Stop      bool          // the gate refuses the configuration; no other payout will fare better
	NoMoney   bool          // the account's balance does not cover it
	Sent      bool          // a request may have left this machine
	Retry     time.Duration // how long everybody must pause, with a 429
	Cancelled bool          // with Unsent: the context ended before the limiter let it go
	Fenced    bool          // with Unsent: this process may send nothing more; see Options.MaySend
	Proven    bool          // only the gate itself answers so; see proves
	Paused    time.Time     // with Unsent: the limiter lets nothing go before this time

	payout.Reported

	HTTPStatus int
}

// FailureKind names the kind of answer, so that identical failures in a row can be counted.
func (a Answer) FailureKind() string {
	return a.Kind.String() + "/" + strconv.Itoa(a.HTTPStatus) + "/" + a.Code
}

// Send posts one payout request, once. It waits for the limiter, at most
// patience, and then until the answer or the timeout; a cancelled ctx ends the
// waiting for the limiter only, because cutting off a request for money
// creates doubt. It never repeats a request and never follows a redirect.
func (c *Client) Send(ctx context.Context, d Draft, patience time.Duration) Answer {
	key, ok := c.keys.Signing(d.Key.ProjectID)
	if !ok || key.IsZero() {
		return Answer{Kind: payout.Unsent, Stop: true, Reported: payout.Reported{Message: fmt.Sprintf("project %d is not configured", d.Key.ProjectID)}}
	}
	body := d.Signed(key)
	err := c.limiter.Wait(ctx, patience)
	if d.leave != nil {
		d.leave()
	}
	if err != nil {
		return unsent(err)
	}
	res, sent, err := c.post(context.WithoutCancel(ctx), d.Endpoint(), body, c.maySend)
	if err != nil {
		if !sent {
			var fenced *fencedError
			return Answer{Kind: payout.Unsent, Reported: payout.Reported{Message: payout.Clean(plain(err))}, Fenced: errors.As(err, &fenced)}
		}
		return Answer{Kind: payout.Doubtful, Sent: true, HTTPStatus: res.Status, Reported: payout.Reported{Message: payout.Clean(plain(err))}}
	}
	a := classify(res, d.Key)
	a.Sent = true
	if a.Retry > 0 {
		if err := c.limiter.Pause(context.WithoutCancel(ctx), time.Now().Add(a.Retry)); err != nil && a.Message == "" {
			a.Message = payout.Clean(err.Error())
		}
	}
	return a
}

func unsent(err error) Answer {
	a := Answer{Kind: payout.Unsent, Reported: payout.Reported{Message: err.Error()}}
	if a.Cancelled = errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded); a.Cancelled {
		a.Message = "the run ended before it was sent"
	}
	var paused Paused
	if errors.As(err, &paused) {
		a.Paused = paused.PausedUntil()
	}
	return a
}

// fencedError is the refusal of Options.MaySend.
type fencedError struct{ error }

func (e *fencedError) Unwrap() error { return e.error }

// post sends one body, if maySend allows it; nil: always. It reports whether anything may
// have left: as long as no connection was had, nothing has.
func (c *Client) post(ctx context.Context, path string, body []byte, maySend func(context.Context, bool) error) (transport.Response, bool, error) {
	to, err := c.target(path)
	if err != nil {
		return transport.Response{}, false, err
	}
	var mayLeave func(dialled bool) error
	if maySend != nil {
		mayLeave = func(dialled bool) error {
			if err := maySend(ctx, dialled); err != nil {
				return &fencedError{err}
			}
			return nil
		}
	}
	return c.poster.Post(ctx, to, body, mayLeave)
}

func (c *Client) target(path string) (*transport.Target, error) {
	if known, ok := c.targets.Load(path); ok {
		return known.(*transport.Target), nil
	}
	to := *c.base
	to.Path += path
	t, err := transport.NewTarget(&to, c.header, c.timeout)
	if err == nil {
		c.targets.Store(path, t)
	}
	return t, err
}

// plain is the text of a network's error for people.
func plain(err error) string {
	var t interface{ Timeout() bool }
	if errors.As(err, &t) && t.Timeout() {
		return "no answer within the timeout"
	}
	return err.Error()
}

// classify reads the answer to a payout request. The body decides where it is the
// gate's own JSON; only what is documented to mean "nothing happened" is Refused or
// Unsent, and all else is in doubt. A request_id says nothing about the money.
func classify(res transport.Response, key payout.Key) Answer {
	a := Answer{Kind: payout.Doubtful, HTTPStatus: res.Status}
	d, err := parseDocument(res.Body)
	status := ""
	if err == nil && isJSON(res.ContentType) {
		code, message := d.refusal()
		a.Reported = payout.NewReported(payout.Reported{Code: code, Message: message})
		status = d.value("status")
	}
	if a.Message == "" {
		a.Message = http.StatusText(res.Status)
	}
	switch {
	case status == "success":
		classifySuccess(&a, d, key)
	case status == "error" && res.Status < 500 && !d.isAbout(key):
		a.Message = "the gate answered about another payment"
	case status == "error" && res.Status < 500:
		a.Proven = documented(a.Code)
		classifyCodes(&a, d.codes())
		if d.value("payment:status") != "" && a.Kind != payout.Taken {
			a.Kind, a.Stop, a.NoMoney = payout.Doubtful, false, false // a refusal has no payment
		}
	}
	switch {
	case res.Status == http.StatusTooManyRequests:
		a.Retry = retryAfter(res.RetryAfter, time.Now())
		if a.Kind != payout.Accepted && a.Kind != payout.Taken {
			// A proxy or the gate turned it away before it was looked at.
			a.Kind, a.Stop, a.NoMoney = payout.Unsent, false, false
		}
	case a.Kind == payout.Doubtful && (res.Status == http.StatusForbidden || res.Status == http.StatusNotFound):
		// A filter, before the platform or behind it: perhaps it became a payment,
		// and the next ones will fare alike.
		a.Stop = true
	}
	return a
}

// classifySuccess reads a body that says success. Beside the documented status line
// it must name the payment, and it must name no error.
func classifySuccess(a *Answer, d *document, key payout.Key) {
	named := d.value("payment_id") != "" && d.value("project_id") != ""
	switch {
	case !d.isAbout(key):
		a.Message = "the gate answered about another payment"
	case a.Code != "" && a.Code != codeSuccess || d.value("errors:0:code") != "":
		a.Message = "the gate answered success and an error: " + a.Message
	case a.HTTPStatus != http.StatusOK && !named:
		a.Message = fmt.Sprintf("the gate answered success with HTTP %d, and does not name the payment", a.HTTPStatus)
	default:
		a.Kind, a.Message, a.RequestID, a.Proven = payout.Accepted, "", payout.Clean(d.value("request_id")), named
	}
}

// documented reports whether a code is one of the platform's.
func documented(code string) bool {
	_, ok := codes()[code]
	return ok
}

// isAbout reports whether an answer names no other payment than key; it may
// name none.
func (d *document) isAbout(key payout.Key) bool {
	project, id, inner := d.value("project_id"), d.value("payment_id"), d.value("payment:id")
	return (id == "" || id == key.PaymentID) && (inner == "" || inner == key.PaymentID) &&
		(project == "" || project == strconv.FormatUint(uint64(key.ProjectID), 10))
}

// classifyCodes reads all the codes of a refusal. Where one says that the id is taken,
// it is; where they do not say the same, nothing is known.
func classifyCodes(a *Answer, codes []string) {
	classifyCode(a)
	first, own := *a, a.Code
	for _, code := range codes {
		b := Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: code}}
		classifyCode(&b)
		switch {
		case b.Kind == payout.Taken:
			a.Code, a.Kind, a.Stop, a.NoMoney = code, payout.Taken, false, false
			return
		case own != code && (b.Kind != first.Kind || b.Stop != first.Stop || b.NoMoney != first.NoMoney):
			a.Kind, a.Stop, a.NoMoney = payout.Doubtful, false, false
		}
	}
}

// classifyCode reads one code of a refusal. Codes of other groups, and those that
// not documented, do not say what became of the request.
func classifyCode(a *Answer) {
	switch GroupOf(a.Code) {
	case GroupDuplicate:
		a.Kind = payout.Taken
	case GroupStop:
		a.Kind, a.Stop = payout.Unsent, true
	case GroupBalance:
		a.Kind, a.NoMoney = payout.Unsent, true
	case GroupFixRow, GroupFixRequest, GroupLimit, GroupNever:
		a.Kind = payout.Refused
	}
}

const jsonType = "application/json"

func isJSON(contentType string) bool {
	if contentType == jsonType {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == jsonType || strings.HasSuffix(media, "+json"))
}

// The pause after a 429: at least a second, at most an hour, so that a wrong
// header does not stop a night's run for good.
const (
	minRetry = time.Second
	maxRetry = time.Hour
)

func retryAfter(v string, now time.Time) time.Duration {
	d := minRetry
	if s, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(s, int(maxRetry/time.Second))) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, minRetry), maxRetry)
}
