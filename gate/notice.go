package gate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"masspay/payout"
)

// ErrProject says that a body is about a project that is not configured here.
var ErrProject = errors.New("project is not configured")

// Notice is what the gate says about a payment, in a callback or in a status
// answer. It is only ever made from a body whose signature was verified.
type Notice struct {
	Key  payout.Key
	Type string // payment.type; only "payout" decides anything
	payout.Reported

	Customer string // customer.id
	Account  string // account.number, when the gate repeats it

	Made time.Time // when the gate made the payment; zero when it does not say

	// TwoReadings: the body is signed, and its lines can be divided in another way
	// into another body with the same signature. Nothing of it may be believed but
	// that a poll is due.
	TwoReadings bool
	Operations  []payout.Operation // successful ones of type payout

	OperationStatus string

	Took time.Duration // of a status request, until its answer
}

// ParseCallback reads and verifies a callback. The signature may be at the
// root or in "general" and may follow any of the four known sort orders;
// numbers may be strings and strings numbers. It fails with ErrMalformed,
// ErrProject or ErrSignature; then nothing of the body may be used.
func ParseCallback(body []byte, keys Keys) (Notice, error) {
	d, err := parseLimited(string(body), maxLeaves)
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
	n.TwoReadings = d.hasTwoReadings()
	return n, nil
}

// read are the beginnings of the paths that a callback is read by.
var read = []string{";payment:", ";operation:", ";operations:", ";project_id:", ";customer:", ";account:", ";errors:", ";general:"}

// hasTwoReadings reports whether a name or a value holds what would be a line of
// its own in the canonical string, which does not escape values: someone may have
// regrouped the lines of another body that was signed.
func (d *document) hasTwoReadings() bool {
	for i := range d.leaves {
		for _, text := range [...]string{d.leaves[i].path, d.leaves[i].value} {
			if strings.IndexByte(text, ';') < 0 {
				continue
			}
			for _, path := range read {
				if strings.Contains(text, path) {
					return true
				}
			}
		}
	}
	return false
}

// notice verifies a document and reads it.
func (d *document) notice(keys Keys) (Notice, error) {
	project, err := strconv.ParseUint(d.first("project_id", "general:project_id"), 10, 32)
	if err != nil {
		return Notice{}, fmt.Errorf("%w: no project_id", ErrMalformed)
	}
	accepted := keys.Accepted(uint32(project))
	if len(accepted) == 0 {
		return Notice{}, fmt.Errorf("%w: %d", ErrProject, project)
	}
	if err := d.verify(accepted); err != nil {
		return Notice{}, err
	}
	n := Notice{
		Key:      payout.Key{ProjectID: uint32(project), PaymentID: d.first("payment:id", "general:payment_id")},
		Type:     payout.Clean(d.value("payment:type")),
		Customer: d.value("customer:id"),
		Account:  d.value("account:number"),
	}
	n.Made = timeOf(d.first("operation:created_date", "operations:0:created_date", "payment:date"))
	op := d.lastOperation()
	n.OperationStatus = strings.ToLower(payout.Clean(d.value(op + "status")))
	code, message := d.value(op+"code"), d.value(op+"message")
	if code == "" {
		code, message = d.refusal()
	}
	n.Reported = payout.NewReported(payout.Reported{
		Status: strings.ToLower(d.value("payment:status")), Code: code, Message: message,
		Amount:      amountOf(d.value("payment:sum:amount"), d.value("payment:sum:currency")),
		OperationID: d.value(op + "id"), ProviderPaymentID: d.value(op + "provider:payment_id"), RequestID: d.value(op + "request_id"),
	})
	n.Operations = d.operations(n)
	return n, nil
}

// maxOperations are read of one body; a payment has a few.
const maxOperations = 32

// operations are the successful operations of type payout that a body names: those
// that moved money, or say so. Their amount is sum_initial, else the payment's.
func (d *document) operations(n Notice) (out []payout.Operation) {
	if n.Type != "payout" {
		return nil
	}
	one := func(op string) {
		kind := d.value(op + "type")
		code := d.value(op + "code")
		if kind != "" && kind != "payout" || !strings.EqualFold(d.value(op+"status"), "success") || code != "" && code != codeSuccess {
			return
		}
		o := payout.Operation{
			ID: payout.Clean(d.value(op + "id")), Provider: payout.Clean(d.value(op + "provider:payment_id")), Made: timeOf(d.value(op + "created_date")),
			Amount: amountOf(d.value(op+"sum_initial:amount"), d.value(op+"sum_initial:currency")),
		}
		if o.Amount == (payout.Amount{}) {
			o.Amount = n.Amount
		}
		if o.ID != "" {
			out = append(out, o)
		}
	}
	one("operation:")
	last := d.lastOperation()
	for i := 0; last != "operation:" && len(out) < maxOperations; i++ {
		op := "operations:" + strconv.Itoa(i) + ":"
		one(op)
		if op == last || i > len(d.leaves) {
			break
		}
	}
	return out
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

// timeOf reads the platform's time format, with its three ways to write UTC;
// anything else is the zero time.
func timeOf(s string) time.Time {
	for _, layout := range [...]string{"2006-01-02T15:04:05-0700", "2006-01-02T15:04:05Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// amountOf reads a sum as the gate writes it. What is not whole minor units is
// kept as an amount that equals no other, so that it shows as a difference.
func amountOf(minor, currency string) payout.Amount {
	if minor == "" && currency == "" {
		return payout.Amount{}
	}
	currency = payout.Clean(currency)
	n, err := strconv.ParseInt(minor, 10, 64)
	if err != nil || n < 0 {
		return payout.Amount{Minor: -1, Currency: currency}
	}
	return payout.Amount{Minor: n, Currency: currency}
}

// Event turns the gate's report into an event of the payout. A status that is
// in no list is never an outcome: a person reads it.
func (n Notice) Event(source payout.Source, host string, at time.Time) payout.Event {
	e := payout.Event{
		Key: n.Key, Source: source, At: at, Host: host,
		Reported: n.Reported,
		Made:     n.Made, Operations: n.Operations, Customer: n.Customer, Account: n.Account,
	}
	if n.TwoReadings {
		return payout.Event{Key: n.Key, Source: source, At: at, Host: host, Kind: payout.PollDue}
	}
	e.Kind, e.Outcome = n.meaning()
	return e
}

// The platform's statuses beside those that decide a payout, with "_" for
// spaces or without. Source: its documentation and the lists of its public SDKs;
// which of them payouts get is not documented, and some belong to purchases.
var (
	progressWords = words("processing", "external processing", "awaiting retry", "awaiting approval", "awaiting clarification",
		"awaiting confirmation", "awaiting customer", "awaiting capture", "awaiting redirect result", "awaiting callback",
		"awaiting merchant auth", "scheduled recurring processing", "invoice created", "invoice sent")
	endWords = words("internal error", "expired", "canceled", "cancelled")
)

func words(list ...string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, w := range list {
		m[w] = true
	}
	return m
}

func (n Notice) meaning() (payout.Kind, payout.State) {
	if n.Type != "payout" {
		return payout.Irrelevant, 0
	}
	switch word := strings.ReplaceAll(n.Status, "_", " "); word {
	case "success":
		// Paid means both: the payment's status, and that of its operation.
		if n.OperationStatus != "" && n.OperationStatus != "success" || n.Code != "" && n.Code != codeSuccess {
			return payout.Progress, 0
		}
		return payout.Final, payout.StatePaid
	case "partially paid out":
		return payout.Final, payout.StatePartial
	case "decline":
		return payout.Final, payout.StateDeclined
	case "reversed":
		return payout.Final, payout.StateReturned
	case "error":
		switch {
		case GroupOf(n.Code) == GroupDuplicate:
			return payout.Taken, 0
		case n.Code == CodeNotFound || n.Code == CodeNoDetails:
			return payout.Silent, 0
		}
		return payout.Final, payout.StateRejected
	case "":
		return payout.Progress, 0 // it says nothing but that the payment is there
	default:
		switch {
		case progressWords[word]:
			return payout.Progress, 0
		case endWords[word]:
			return payout.Lapsed, 0
		}
	}
	return payout.Unlisted, 0
}

// refusal is the code and the message of an error body, as they came: at the root, or in
// the first of an array of errors. Both may be missing.
func (d *document) refusal() (code, message string) {
	if c := d.value("code"); c != "" {
		return c, d.value("message")
	}
	code, message = d.value("errors:0:code"), d.first("errors:0:message", "errors:0:description", "message")
	if field := d.value("errors:0:field"); field != "" {
		message = field + ": " + message
	}
	return code, message
}

// codes are all the codes that a refusal names.
func (d *document) codes() (codes []string) {
	add := func(c string) {
		if c = payout.Clean(c); c != "" {
			codes = append(codes, c)
		}
	}
	add(d.value("code"))
	for i := range maxErrors {
		path := "errors:" + strconv.Itoa(i) + ":"
		add(d.value(path + "code"))
	}
	return codes
}

// maxErrors are read of one refusal; it has one for each field that is wrong.
const maxErrors = 64
