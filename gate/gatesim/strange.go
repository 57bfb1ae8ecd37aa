package gatesim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"masspay/gate"
	"masspay/payout"
)

// What is told beside a payment's own story: other people's payments of the id, bodies
// that can be read in two ways, second payments, and statuses for a person.

func minor(in incoming) int64 {
	n, _ := strconv.ParseInt(in.Payment.Amount.String(), 10, 64)
	return n
}

// Strange tells, in a signed callback, of another's payment of an id: the same amount,
// made last year, as one of several variants says it. It reports whether the callback
// was answered with 200. Nothing was sent under that id, and nothing should be.
func (s *Sim) Strange(key payout.Key, amount payout.Amount, variant int) bool {
	return s.strange(key, amount, variant)
}

func (s *Sim) strange(key payout.Key, amount payout.Amount, variant int) bool {
	if s.callbackURL() == "" {
		return false
	}
	lastYear := time.Now().AddDate(-1, 0, 0).UTC().Format("2006-01-02T15:04:05-0700")
	status := []string{"success", "decline", "processing"}[variant%3]
	code := map[string]string{"success": "0", "decline": "20000", "processing": "9999"}[status]
	sum := map[string]any{"amount": amount.Minor, "currency": amount.Currency}
	b := map[string]any{
		"project_id": key.ProjectID,
		"payment":    map[string]any{"id": key.PaymentID, "type": "payout", "status": status, "date": lastYear, "sum": sum},
		"operation": map[string]any{
			"id": 900_000_000_000_000 + variant, "type": "payout", "status": status, "created_date": lastYear, "sum_initial": sum, "code": code,
			"provider": map[string]any{"payment_id": "prov-of-another"},
		},
	}
	if variant%4 > 0 {
		b["customer"] = map[string]any{"id": "another-customer"}
	}
	if variant%4 > 1 {
		b["account"] = map[string]any{"number": "996700000000"}
	}
	// A request may be waiting for it, and must not arrive late.
	taken := s.postFor(time.Second, s.sign(b, key.ProjectID)) == http.StatusOK
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.payments[key]
	if p == nil {
		p = &payment{key: key, amount: amount, n: len(s.payments) + 1, says: s.cfg.Says}
		s.payments[key] = p
	}
	p.strange = true // taken or not: the answer may have been lost
	return taken
}

// regroup sends a body that is signed as another one is: a line of that one stands
// inside a value of this one. It says what was never said.
func (s *Sim) regroup(p *payment, st step) {
	if s.callbackURL() == "" {
		return
	}
	s.mu.Lock()
	b := p.body(st)
	b["payment"].(map[string]any)["method"] = p.method + ";payment:status:" + st.status
	delete(b["payment"].(map[string]any), "status")
	unsigned, _ := json.Marshal(b)
	canonical, _ := gate.Canonical(unsigned)
	b["signature"] = gate.NewSecret(s.cfg.Projects[p.key.ProjectID]).Sign(canonical)
	body, _ := json.Marshal(b)
	s.mu.Unlock()
	s.post(body)
}

// afterwards tells of a second payment of what was paid, or reports a status of it that a
// person must read.
func (s *Sim) afterwards(p *payment, st step, second, word bool) {
	if second && s.sleep(time.Second) {
		s.mu.Lock()
		p.strange = true
		b := p.body(st)
		op := b["operation"].(map[string]any)
		op["id"] = 800_000_000_000_000 + p.n
		op["created_date"] = time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05-0700")
		op["sum_initial"] = map[string]any{"amount": p.amount.Minor, "currency": p.amount.Currency}
		op["provider"] = map[string]any{"payment_id": "prov-second-" + strconv.Itoa(p.n)}
		body := s.sign(b, p.key.ProjectID)
		s.mu.Unlock()
		s.deliver(body, func() { p.second = true })
	}
	if word && s.sleep(time.Second) {
		s.mu.Lock()
		p.strange = true
		b := p.body(step{status: []string{"refunded", "chargeback", "expired", "taken for a walk"}[p.n%4], op: "success", code: "0"})
		body := s.sign(b, p.key.ProjectID)
		s.mu.Unlock()
		s.deliver(body, func() { p.worded = true })
	}
}

// deliver sends a callback until it is answered with 200, and then does something under
// the lock.
func (s *Sim) deliver(body []byte, taken func()) {
	for range s.cfg.CallbackTry {
		if s.post(body) == http.StatusOK {
			s.mu.Lock()
			taken()
			s.mu.Unlock()
			return
		}
		if !s.sleep(s.cfg.CallbackGap) {
			return
		}
	}
}

// bare accepts whatever comes, for load tests, and names the payment, as a gate does.
func (s *Sim) bare(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	answer := append(make([]byte, 0, 160), `{"status":"success","request_id":"bare"`...)
	answer = appendField(answer, body, `"project_id":`)
	answer = appendField(answer, body, `"payment_id":`)
	_, _ = w.Write(append(answer, '}'))
}

// appendField copies a plain field of a JSON text, with its name.
func appendField(answer, body []byte, name string) []byte {
	i := bytes.Index(body, []byte(name))
	if i < 0 {
		return answer
	}
	value := body[i+len(name):]
	end := bytes.IndexAny(value, ",}")
	if end < 0 {
		return answer
	}
	return append(append(append(answer, ','), name...), value[:end]...)
}
