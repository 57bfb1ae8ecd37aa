package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"masspay/gate/transport"
	"masspay/payout"
)

// The status endpoints.
const (
	statusPath        = "/v2/payment/status"
	statusRequestPath = "/v2/payment/status/request"
)

// ErrNotSeen says that the gate answered plainly, HTTP 200 with code 3061, that
// it does not know the id. It is not final: the gate may learn of it yet.
var ErrNotSeen = errors.New("the gate does not know the payment")

// ErrUnreached says that no connection to the gate was had: nothing left.
var ErrUnreached = errors.New("the gate could not be reached")

// Error is an answer to a question that says nothing about the payment.
type Error struct {
	HTTPStatus int
	Code       string
	Message    string
	Stop       bool          // the gate refuses the configuration
	Documented bool          // an error body with a code of the platform: only the gate answers so
	RetryAfter time.Duration // with a 429
}

func (e *Error) Error() string {
	s := "the gate answered HTTP " + strconv.Itoa(e.HTTPStatus)
	if e.Code != "" {
		s += ", code " + e.Code
	}
	if e.Message != "" {
		s += ", " + e.Message
	}
	return s
}

// Status asks what became of a payment, by its id. The notice was signed with
// the project's key; an answer without a valid signature is an error. Other
// errors: ErrNotSeen, Paused, *Error, or the network's. None of them says
// anything about the money but ErrNotSeen. A poll moves no money. Took is how long the request
// took, also with an error.
func (c *Client) Status(ctx context.Context, key payout.Key, patience time.Duration) (Notice, error) {
	body := func(signature string) any {
		general := map[string]any{"project_id": key.ProjectID, "payment_id": key.PaymentID}
		if signature != "" {
			general["signature"] = signature
		}
		return map[string]any{"general": general}
	}
	n, err := c.ask(ctx, statusPath, key, body, patience)
	if err != nil {
		return Notice{Took: n.Took}, err
	}
	if n.Key != key {
		return Notice{Took: n.Took}, fmt.Errorf("the gate answered about another payment than %s", key)
	}
	return n, nil
}

// StatusByRequest asks what became of a request, by the request_id of its
// acceptance. Errors are those of Status.
func (c *Client) StatusByRequest(ctx context.Context, project uint32, request string, patience time.Duration) (Notice, error) {
	body := func(signature string) any {
		m := map[string]any{"project_id": project, "request_id": request}
		if signature != "" {
			m["signature"] = signature
		}
		return m
	}
	n, err := c.ask(ctx, statusRequestPath, payout.Key{ProjectID: project}, body, patience)
	if err == nil && n.Key.ProjectID != project {
		return Notice{}, fmt.Errorf("the gate answered about another project than %d", project)
	}
	return n, err
}

func (c *Client) ask(ctx context.Context, path string, key payout.Key, body func(signature string) any, patience time.Duration) (Notice, error) {
	secret, ok := c.keys.Signing(key.ProjectID)
	if !ok {
		return Notice{}, ErrProject
	}
	unsigned, err := json.Marshal(body(""))
	if err != nil {
		return Notice{}, err
	}
	canonical, err := Canonical(unsigned)
	if err != nil {
		return Notice{}, err
	}
	signed, err := json.Marshal(body(secret.Sign(canonical)))
	if err != nil {
		return Notice{}, err
	}
	if err := c.limiter.Wait(ctx, patience); err != nil {
		return Notice{}, err
	}
	begun := time.Now()
	res, sent, err := c.post(ctx, path, signed, nil)
	took := time.Since(begun)
	if err != nil && !sent {
		return Notice{}, fmt.Errorf("%w: %s", ErrUnreached, payout.Clean(plain(err)))
	}
	if err != nil {
		return Notice{Took: took}, errors.New(payout.Clean(plain(err)))
	}
	n, err := parseStatus(res, key, c.keys)
	n.Took = took
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		err = errors.Join(err, c.limiter.Pause(ctx, time.Now().Add(e.RetryAfter)))
	}
	return n, err
}

// parseStatus reads a status answer. ErrNotSeen only comes from the plain
// documented form; a 404, HTML, 3062 or an "error" payment with 3061 never
// make it.
func parseStatus(res transport.Response, key payout.Key, keys Keys) (Notice, error) {
	failed := &Error{HTTPStatus: res.Status, Message: http.StatusText(res.Status)}
	if res.Status == http.StatusTooManyRequests {
		failed.RetryAfter = retryAfter(res.RetryAfter, time.Now())
		return Notice{}, failed
	}
	failed.Stop = res.Status == http.StatusForbidden
	if !isJSON(res.ContentType) {
		return Notice{}, failed
	}
	d, err := parseDocument(res.Body)
	if err != nil {
		return Notice{}, fmt.Errorf("status answer: %w", err)
	}
	code, message := d.refusal()
	refused := payout.NewReported(payout.Reported{Code: code, Message: message})
	failed.Code, failed.Message = refused.Code, refused.Message
	failed.Documented = d.value("status") == "error" && documented(failed.Code)
	failed.Stop = failed.Stop || res.Status != http.StatusOK && GroupOf(failed.Code) == GroupStop
	if res.Status != http.StatusOK {
		return Notice{}, failed
	}
	if d.first("payment:id", "payment:status") == "" {
		if d.value("status") == "error" && failed.Code == CodeNotFound && d.isAbout(key) {
			return Notice{}, ErrNotSeen
		}
		return Notice{}, failed
	}
	n, err := d.notice(keys)
	if err != nil {
		return Notice{}, fmt.Errorf("status answer: %w", err)
	}
	return n, nil
}
