package gate

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"masspay/payout"
)

// ErrProject says that a body is about a project that is not configured here.
var ErrProject = errors.New("project is not configured")

// Notice is what the gate says about a payment, in a callback or in a status
// answer. It is only ever made from a body whose signature was verified.
type Notice struct {
	Key      payout.Key
	Type     string // payment.type; only "payout" settles anything
	Status   string // payment.status, the gate's own word
	Sum      payout.Amount
	Code     string
	Message  string
	Customer string // customer.id
	Account  string // account.number, when the gate repeats it

	Made time.Time // when the gate made the payment; zero when it does not say

	OperationStatus string
	Operation       string // id
	Provider        string // payment id at the provider
	Request         string
}

// ParseCallback reads and verifies a callback. The signature may stand at the
// root or in "general" and may follow any of the four known sort orders;
// numbers may be strings and strings numbers. It fails with ErrMalformed,
// ErrProject or ErrSignature; then nothing of the body may be used.
func ParseCallback(body []byte, keys Keys) (Notice, error) {
	d, err := parseDocument(string(body))
	if err != nil {
		return Notice{}, err
	}
	n, err := d.notice(keys)
	if err != nil {
		return Notice{}, err
	}
	if n.Key.PaymentID == "" {
		return Notice{}, fmt.Errorf("%w: no payment.id", ErrMalformed)
	}
	return n, nil
}

// notice verifies a document and reads it.
func (d *document) notice(keys Keys) (Notice, error) {
	project, err := strconv.ParseUint(d.first("project_id", "general:project_id"), 10, 32)
	if err != nil {
		return Notice{}, fmt.Errorf("%w: no project_id", ErrMalformed)
	}
	accepted := keys.Accepted(uint32(project))
	if len(accepted) == 0 {
		return Notice{}, ErrProject
	}
	if err := d.verify(accepted); err != nil {
		return Notice{}, err
	}
	n := Notice{
		Key:      payout.Key{ProjectID: uint32(project), PaymentID: d.first("payment:id", "general:payment_id")},
		Type:     clean(d.value("payment:type")),
		Status:   strings.ToLower(clean(d.value("payment:status"))),
		Customer: d.value("customer:id"),
		Account:  d.value("account:number"),
	}
	n.Made = timeOf(d.first("operation:created_date", "operations:0:created_date", "payment:date"))
	n.Sum = amountOf(d.value("payment:sum:amount"), d.value("payment:sum:currency"))
	op := d.lastOperation()
	n.OperationStatus = strings.ToLower(clean(d.value(op + "status")))
	n.Operation = clean(d.value(op + "id"))
	n.Provider = clean(d.value(op + "provider:payment_id"))
	n.Request = clean(d.value(op + "request_id"))
	n.Code = clean(d.value(op + "code"))
	n.Message = cleanText(d.value(op + "message"))
	if n.Code == "" {
		n.Code, n.Message = d.refusal()
	}
	return n, nil
}

// lastOperation is the path prefix of the operation that explains the status:
// the callback's one, or the last of a status answer.
func (d *document) lastOperation() string {
	last := -1
	for _, l := range d.leaves {
		if len(l.segments) > 2 && l.segments[0] == "operations" {
			if i, err := strconv.Atoi(l.segments[1]); err == nil && i > last {
				last = i
			}
		}
	}
	if last < 0 {
		return "operation:"
	}
	return "operations:" + strconv.Itoa(last) + ":"
}

func (d *document) first(paths ...string) string {
	for _, p := range paths {
		if v := d.value(p); v != "" {
			return v
		}
	}
	return ""
}

// timeOf reads the platform's time format; anything else is the zero time.
func timeOf(s string) time.Time {
	t, err := time.Parse("2006-01-02T15:04:05-0700", s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// amountOf reads a sum as the gate writes it. What is not whole minor units is
// kept as an amount that equals no other, so that it shows as a difference.
func amountOf(minor, currency string) payout.Amount {
	if minor == "" && currency == "" {
		return payout.Amount{}
	}
	currency = clean(currency)
	n, err := strconv.ParseInt(minor, 10, 64)
	if err != nil || n < 0 {
		return payout.Amount{Minor: -1, Currency: currency}
	}
	return payout.Amount{Minor: n, Currency: currency}
}

// Event turns the gate's word into an event of the payout. A status word that
// nobody knows is progress, never an outcome.
func (n Notice) Event(source payout.Source, host string, at time.Time) payout.Event {
	e := payout.Event{
		Key: n.Key, Source: source, At: at, Host: host,
		Status: n.Status, Code: n.Code, Message: n.Message, Amount: n.Sum,
		Operation: n.Operation, Provider: n.Provider, Request: n.Request,
	}
	e.Kind, e.Outcome = n.meaning()
	return e
}

func (n Notice) meaning() (payout.Kind, payout.State) {
	if n.Type != "payout" {
		return payout.Irrelevant, 0
	}
	switch n.Status {
	case "success":
		// Paid means both: the payment's word, and that of its operation.
		if n.OperationStatus != "" && n.OperationStatus != "success" || n.Code != "" && n.Code != codeSuccess {
			return payout.Progress, 0
		}
		return payout.Verdict, payout.StatePaid
	case "partially_paid_out", "partially paid out":
		return payout.Verdict, payout.StatePartial
	case "decline":
		return payout.Verdict, payout.StateDeclined
	case "reversed":
		return payout.Verdict, payout.StateReturned
	case "error":
		switch {
		case GroupOf(n.Code) == GroupDuplicate:
			return payout.Taken, 0
		case n.Code == CodeNotFound || n.Code == CodeNoDetails:
			return payout.Silent, 0
		}
		return payout.Verdict, payout.StateRejected
	}
	return payout.Progress, 0
}

// refusal is the code and the message of an error body: at the root, or in the
// first of an array of errors. Both may be missing.
func (d *document) refusal() (code, message string) {
	if c := d.value("code"); c != "" {
		return clean(c), cleanText(d.value("message"))
	}
	code, message = clean(d.value("errors:0:code")), cleanText(d.first("errors:0:message", "errors:0:description", "message"))
	if field := d.value("errors:0:field"); field != "" {
		message = clean(field) + ": " + message
	}
	return code, message
}

// maxText bounds what is kept of a text that the gate sends.
const maxText = 255

// clean makes a word of the gate, an id or a code, fit to keep and to print: one
// line, no control characters, bounded.
func clean(s string) string {
	if len(s) <= maxText && printable(s) { // as nearly all are
		return s
	}
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxText {
		s = string(r[:maxText])
	}
	return s
}

// personalText is what a message may repeat of a row: an e-mail address, or eight
// and more digits, grouped or not, as accounts, cards and phones have.
var personalText = regexp.MustCompile(`[^\s@:;,<>"']+@[^\s@:;,<>"']+|\+?[0-9](?:[\p{Z} ./()–-]{0,2}[0-9]){7,}`)

// cleanText does the same to a message for people, and masks what looks
// personal. Names it cannot know.
func cleanText(s string) string {
	s = clean(s)
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '@' || r >= '0' && r <= '9' }) {
		return s
	}
	return personalText.ReplaceAllStringFunc(s, payout.Mask)
}
