package gatesim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"masspay/gate"
	"masspay/payout"
)

// Sim is the gateway.
type Sim struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	callback string
	payments map[payout.Key]*payment
	denied   map[payout.Key]bool // ids of which a poll was answered with "not found"
	history  []Request
	strikes  map[Fault]int
	started  int64
	sent     int // callbacks answered with 200
	lost     int // callbacks given up
}

// payment is an id and everything that was accepted under it.
type payment struct {
	key      payout.Key
	method   string
	suffix   string
	account  string
	customer string
	who      string // as the platform's texts name people: with whatever the request had
	amount   payout.Amount
	request  string
	accepted time.Time
	posts    int
	times    int // how often it was accepted
	bodies   []string
	foreign  bool // made by another
	says     Says
	steps    []step
	now      step   // the last that happened
	told     string // payment.status of the last callback that was answered with 200
	n        int    // of all payments, for its numbers

	split, cascade, newIDs bool
	ids                    int  // callbacks with ids of their own
	strange                bool // something was told, or tried to be, that a person must see
	second, worded         bool // a second payment was told, a status for a person was
}

// Entry is one id in the ledger.
type Entry struct {
	Key      payout.Key `json:"key"`
	Posts    int        `json:"posts"`    // requests that were read
	Accepted int        `json:"accepted"` // payments made of them; more than one is a double payment
	Bodies   int        `json:"bodies"`   // different bodies among the posts
	Status   string     `json:"status"`
	Paid     int64      `json:"paid"` // minor units that moved to the receiver
	Currency string     `json:"currency"`
	Asked    int64      `json:"asked"`
	Account  string     `json:"account"` // whom the first request was for
	Final    bool       `json:"final"`
	Told     string     `json:"told,omitempty"` // status of the last callback that was taken
	Foreign  bool       `json:"foreign,omitempty"`
	Odd      bool       `json:"odd,omitempty"`     // told with another amount than was asked for
	Strange  bool       `json:"strange,omitempty"` // something was told, or tried to be, that a person must see
	Second   bool       `json:"second,omitempty"`  // a second payment was told
	Worded   bool       `json:"worded,omitempty"`  // a status was told that a person must read
}

// Request is one request that reached the gateway.
type Request struct {
	At   time.Time  `json:"at"`
	Path string     `json:"path"`
	Key  payout.Key `json:"key"`
	Did  string     `json:"did"` // the fault that struck, or what was answered
}

// New makes a gateway. It starts nothing until it is asked something.
func New(cfg Config) *Sim {
	ctx, cancel := context.WithCancel(context.Background())
	return &Sim{
		cfg: cfg.withDefaults(), callback: cfg.Callback, ctx: ctx, cancel: cancel,
		payments: map[payout.Key]*payment{}, denied: map[payout.Key]bool{}, strikes: map[Fault]int{},
	}
}

// SetCallback sets the URL for callbacks that are yet to be sent.
func (s *Sim) SetCallback(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.callback = url
}

func (s *Sim) callbackURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.callback
}

// Close ends everything that is under way and waits for it. Callbacks that are
// still to come never do.
func (s *Sim) Close() {
	s.cancel()
	s.wg.Wait()
}

// ServeHTTP is the API.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	case r.URL.Path == "/v2/payment/status":
		s.status(w, r)
	case r.URL.Path == "/v2/payment/status/request":
		s.statusByRequest(w, r)
	case strings.HasPrefix(r.URL.Path, "/v2/payment/"):
		s.payout(w, r)
	default:
		http.NotFound(w, r)
	}
}

// dice decides, from the seed and from what it is about, so that the order in
// which requests come changes nothing.
type dice struct {
	s   *Sim
	rng *rand.Rand
}

func (s *Sim) dice(about string, n int) dice {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s#%d", about, n)
	return dice{s: s, rng: rand.New(rand.NewPCG(s.cfg.Seed, h.Sum64()))} //nolint:gosec // reproducible, not secret
}

func (d dice) strikes(f Fault) bool {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.strikesLocked(f)
}

// strikesLocked is strikes for who holds the simulator's lock.
func (d dice) strikesLocked(f Fault) bool {
	// One throw for each question, whatever the rate, keeps seeds comparable.
	hit := d.rng.Float64() < d.s.cfg.Rates[f]
	if hit {
		d.s.strikes[f]++
	}
	return hit
}

func (d dice) first(faults ...Fault) Fault {
	for _, f := range faults {
		if d.strikes(f) {
			return f
		}
	}
	return ""
}

// incoming is a payout request that was read.
type incoming struct {
	General struct {
		ProjectID uint32 `json:"project_id"`
		PaymentID string `json:"payment_id"`
		Signature string `json:"signature"`
	} `json:"general"`
	Customer struct {
		ID    string `json:"id"`
		First string `json:"first_name"`
		Last  string `json:"last_name"`
		Email string `json:"email"`
	} `json:"customer"`
	Account struct {
		Number string `json:"number"`
	} `json:"account"`
	Card struct {
		PAN string `json:"pan"`
	} `json:"card"`
	Payment struct {
		Amount   json.Number `json:"amount"`
		Currency string      `json:"currency"`
	} `json:"payment"`
	body []byte
	path string
}

func (in incoming) key() payout.Key {
	return payout.Key{ProjectID: in.General.ProjectID, PaymentID: in.General.PaymentID}
}

func (in incoming) destination() string {
	if in.Account.Number != "" {
		return in.Account.Number
	}
	return in.Card.PAN
}

// who is what a text of the platform may say of a customer, in other capitals than the
// request: whatever keeps or prints such a text must mask it.
func (in incoming) who() string {
	who := strings.TrimSpace(strings.ToUpper(in.Customer.First) + " " + in.Customer.Last)
	return strings.Join(slices.DeleteFunc([]string{who, strings.ToUpper(in.Customer.Email), in.destination()}, func(s string) bool { return s == "" }), ", ")
}

// text is the platform's text for a code, of a refusal with whom it is about.
func text(code, who string) string {
	if code == "0" || code == "9999" || who == "" {
		return gate.MessageOf(code)
	}
	return gate.MessageOf(code) + " (" + who + ")"
}

func (in incoming) suffix() string {
	d := in.destination()
	return d[max(0, len(d)-2):]
}

func (s *Sim) payout(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Bare {
		s.bare(w, r)
		return
	}
	s.mu.Lock()
	s.started++
	n := s.started
	s.mu.Unlock()
	if s.dice("connection", int(n)).strikes(CutUnread) {
		s.note(r, payout.Key{}, string(CutUnread))
		cut(w)
		return
	}
	in, ok := s.read(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	p := s.payments[in.key()]
	posts := 1
	if p != nil {
		p.posts++
		posts = p.posts
		sum := bodySum(in.body)
		if !slices.Contains(p.bodies, sum) {
			p.bodies = append(p.bodies, sum)
		}
	}
	s.mu.Unlock()
	d := s.dice(in.key().String(), posts)
	if d.strikes(Stranger) {
		s.mu.Lock()
		s.payment(in)
		s.mu.Unlock()
		s.strange(in.key(), payout.Amount{Minor: minor(in) + 1, Currency: in.Payment.Currency}, posts) // it may come after the acceptance
	}
	fault := d.first(CutBefore, CutAfter, HangBefore, HangAfter, Late, Error500, Accept500, TooMany, HTML, Garbage, Redirect,
		Before403, After403, After404, Accept429)
	if fault != "" {
		s.note(r, in.key(), string(fault))
		s.misbehave(w, r, in, d, fault)
		return
	}
	code := s.accept(in, d, true)
	s.note(r, in.key(), "answered "+code)
	s.answer(w, in, code)
}

// misbehave does what a fault says.
func (s *Sim) misbehave(w http.ResponseWriter, r *http.Request, in incoming, d dice, fault Fault) {
	switch fault {
	case Accept429:
		if code := s.accept(in, d, false); code != "0" {
			s.answer(w, in, code)
			return
		}
	case CutAfter, HangAfter, Accept500, HTML, Garbage, After403, After404:
		s.accept(in, d, false)
	case Late:
		s.later(s.cfg.LateBy, func() { s.accept(in, d, false) })
	default:
		s.count(in)
	}
	switch fault {
	case CutBefore, CutAfter:
		cut(w)
	case HangBefore, HangAfter, Late:
		s.hang(r)
		cut(w)
	case Error500, Accept500:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"status":"error","code":"501","message":"Internal error"}`)
	case TooMany:
		w.Header().Set("Retry-After", strconv.Itoa(int(max(s.cfg.RetryAfter/time.Second, 1))))
		w.WriteHeader(http.StatusTooManyRequests)
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html><h1>502 Bad Gateway</h1></html>")
	case Before403, After403, After404:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(map[Fault]int{After404: http.StatusNotFound}[fault] + map[Fault]int{Before403: http.StatusForbidden, After403: http.StatusForbidden}[fault])
		_, _ = io.WriteString(w, "<html>not here</html>")
	case Accept429:
		w.Header().Set("Retry-After", "1")
		s.success(w, in, http.StatusTooManyRequests)
	case Garbage:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"succ`)
	case Redirect:
		http.Redirect(w, r, "/v2/payment/elsewhere", http.StatusTemporaryRedirect)
	}
}

// hang holds a request until the caller gives up.
func (s *Sim) hang(r *http.Request) {
	t := time.NewTimer(s.cfg.HangFor)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	case <-s.ctx.Done():
	}
}

// cut closes the connection without an answer.
func cut(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// later does something after a time, unless the gateway closes before.
func (s *Sim) later(after time.Duration, do func()) {
	s.wg.Go(func() {
		t := time.NewTimer(after)
		defer t.Stop()
		select {
		case <-t.C:
			do()
		case <-s.ctx.Done():
		}
	})
}

func (s *Sim) note(r *http.Request, key payout.Key, did string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, Request{At: time.Now(), Path: r.URL.Path, Key: key, Did: did})
}

// read reads and verifies a request; when it is not right it answers.
func (s *Sim) read(w http.ResponseWriter, r *http.Request) (incoming, bool) {
	in := incoming{path: r.URL.Path}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		cut(w)
		return in, false
	}
	in.body = body
	if err := json.Unmarshal(body, &in); err != nil {
		s.note(r, in.key(), "answered 2003")
		refuse(w, http.StatusUnprocessableEntity, "2003")
		return in, false
	}
	secret, ok := s.cfg.Projects[in.General.ProjectID]
	if !ok {
		s.note(r, in.key(), "answered 404")
		refuse(w, http.StatusNotFound, "3023")
		return in, false
	}
	canonical, err := gate.Canonical(body)
	if err != nil || gate.NewSecret(secret).Sign(canonical) != in.General.Signature {
		s.note(r, in.key(), "answered 3261")
		refuse(w, http.StatusBadRequest, "3261")
		return in, false
	}
	return in, true
}

func refuse(w http.ResponseWriter, status int, code string) { refuseWho(w, status, code, "") }

func refuseWho(w http.ResponseWriter, status int, code, who string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"status":"error","code":%q,"message":%q}`, code, text(code, who))
}

func bodySum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// count notes a post that made no payment, so that the ledger knows of it.
func (s *Sim) count(in incoming) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.payment(in)
}

// payment returns the id's entry, made when it is new.
func (s *Sim) payment(in incoming) *payment {
	p := s.payments[in.key()]
	if p == nil {
		p = &payment{key: in.key(), posts: 1, bodies: []string{bodySum(in.body)}, n: len(s.payments) + 1, says: s.cfg.Says}
		s.payments[in.key()] = p
	}
	if p.method == "" { // only told of so far
		p.method = strings.TrimSuffix(strings.TrimPrefix(in.path, "/v2/payment/"), "/payout")
		p.suffix, p.account, p.customer = in.suffix(), in.destination(), in.Customer.ID
		p.who = in.who()
		p.amount = payout.Amount{Minor: minor(in), Currency: in.Payment.Currency}
	}
	return p
}

// accept makes a payment of a request, if it may. It returns the code of a
// refusal, or "0".
func (s *Sim) accept(in incoming, d dice, answered bool) string {
	s.mu.Lock()
	p := s.payment(in)
	if code, ok := refusedBySuffix[p.suffix]; ok && p.times == 0 {
		if code == gate.CodeExists && !p.foreign {
			// Another used the id before, for another customer.
			p.foreign, p.customer = true, "someone-else"
			p.accepted, p.steps = time.Now(), story("", 0)
			p.now = p.steps[0]
			p.request = fmt.Sprintf("%015x", p.n)
		}
		s.mu.Unlock()
		return code
	}
	again := p.times > 0
	if again && !s.cfg.PayEvery && p.status().status != "error" {
		s.mu.Unlock()
		if d.strikes(Exists) {
			s.wg.Go(func() { s.tell(p, step{status: "error", code: gate.CodeExists, errors: true}) })
			return "0"
		}
		return gate.CodeExists
	}
	p.times++
	p.accepted = time.Now()
	p.request = fmt.Sprintf("%013x%02x", p.n, p.times)
	p.steps, p.now = story(p.suffix, s.cfg.OutcomeAfter), step{}
	if p.split = d.strikesLocked(Split); p.split {
		p.steps = inParts(p.steps, false)
	} else if p.cascade = d.strikesLocked(Cascade); p.cascade {
		p.steps = inParts(p.steps, true)
	}
	p.newIDs = d.strikesLocked(NewIDs)
	s.mu.Unlock()
	s.schedule(p, d, answered)
	return "0"
}

func (s *Sim) answer(w http.ResponseWriter, in incoming, code string) {
	if code != "0" {
		refuseWho(w, http.StatusBadRequest, code, in.who())
		return
	}
	s.success(w, in, http.StatusOK)
}

// success says that a request was accepted.
func (s *Sim) success(w http.ResponseWriter, in incoming, status int) {
	s.mu.Lock()
	request := s.payments[in.key()].request
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	answer, _ := json.Marshal(map[string]any{
		"status": "success", "request_id": request,
		"project_id": in.General.ProjectID, "payment_id": in.General.PaymentID,
	})
	_, _ = w.Write(answer)
}

// schedule makes the steps happen, and tells of them.
func (s *Sim) schedule(p *payment, d dice, answered bool) {
	early := answered && d.strikes(Early)
	silent := d.strikes(Never)
	var delay time.Duration
	if d.strikes(Delayed) {
		delay = s.cfg.DelayBy
	}
	forged, odd, twice, disorder := d.strikes(Unsigned), d.strikes(OddWord), d.strikes(Twice), d.strikes(Disorder)
	otherID, otherAmount := d.strikes(OtherID), d.strikes(OtherAmount)
	regrouped, second, word := d.strikes(Regrouped), d.strikes(Second), d.strikes(Word)
	s.mu.Lock()
	steps := slices.Clone(p.steps)
	if otherAmount {
		for i := range steps {
			steps[i].other = steps[i].other || steps[i].final
		}
	}
	p.steps = steps
	s.mu.Unlock()
	play := func() {
		start := time.Now()
		for _, st := range steps {
			if !s.sleep(st.after - time.Since(start)) {
				return
			}
			s.mu.Lock()
			p.now = st
			s.mu.Unlock()
			if silent || !s.sleep(delay) {
				continue
			}
			if forged && st.final {
				s.forge(p, st)
			}
			if regrouped && st.final {
				s.regroup(p, st)
			}
			if odd && st.final {
				s.tell(p, step{status: "awaiting approval"})
			}
			s.tell(p, st)
			if twice {
				s.tell(p, st)
			}
			if disorder && st.final {
				s.tell(p, step{status: "processing"})
			}
		}
		if otherID && !silent {
			s.stray(p)
		}
		s.mu.Lock()
		told := p.told == "success"
		s.mu.Unlock()
		if last := steps[len(steps)-1]; told && last.status == "success" && !last.other {
			s.afterwards(p, last, second, word)
		}
	}
	if early && s.cfg.OutcomeAfter < time.Second {
		play()
		return
	}
	s.wg.Go(play)
}

func (s *Sim) sleep(d time.Duration) bool {
	if d <= 0 {
		return s.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// status is the last step that happened.
func (p *payment) status() step {
	if p.now.status == "" {
		return step{status: "processing"}
	}
	return p.now
}

// body is what a callback or a status answer says of a payment.
func (p *payment) body(st step) map[string]any {
	sum := map[string]any{"amount": p.amount.Minor, "currency": p.amount.Currency}
	if st.half {
		sum["amount"] = p.amount.Minor / 2
	}
	if st.other {
		sum["amount"] = p.amount.Minor + 1
	}
	op := st.op
	if op == "" {
		op = st.status
	}
	now := time.Now().UTC().Format("2006-01-02T15:04:05-0700")
	b := map[string]any{
		"project_id": p.key.ProjectID,
		"payment": map[string]any{
			"id": p.key.PaymentID, "type": "payout", "status": st.status, "date": now,
			"method": p.method, "sum": sum, "description": "",
		},
	}
	if p.says != SaysNothing {
		b["customer"] = map[string]any{"id": p.customer}
	}
	if p.says == SaysBoth {
		b["account"] = map[string]any{"number": p.account}
	}
	if st.errors {
		b["errors"] = []any{map[string]any{"code": st.code, "message": text(st.code, p.who)}}
		return b
	}
	code := st.code
	if code == "" {
		code = "9999"
	}
	b["operation"] = p.operation(st.part, op, code, sum, now)
	return b
}

// operation is one of a payment. Of one in two parts each has ids, a date and a sum of
// its own.
func (p *payment) operation(part int, status, code string, sum map[string]any, now string) map[string]any {
	id, made := 1_000_000_000_000_000+int64(p.n)*1_000+int64(part), p.accepted.Add(time.Duration(part)*time.Second)
	if p.newIDs {
		p.ids++
		id += int64(10 * p.ids)
	}
	if p.split && part > 0 {
		half := p.amount.Minor / 2
		if part == 2 {
			half = p.amount.Minor - half
		}
		sum = map[string]any{"amount": half, "currency": p.amount.Currency}
	}
	return map[string]any{
		"id": id, "type": "payout", "status": status, "date": now, "created_date": made.UTC().Format("2006-01-02T15:04:05-0700"),
		"request_id": p.request, "sum_initial": sum, "sum_converted": sum,
		"code": code, "message": text(code, p.who),
		"provider": map[string]any{"id": 12345, "payment_id": fmt.Sprintf("prov-%06d-%d", p.n, part), "auth_code": ""},
	}
}

func (s *Sim) sign(b map[string]any, project uint32) []byte {
	unsigned, _ := json.Marshal(b)
	canonical, _ := gate.Canonical(unsigned)
	b["signature"] = gate.NewSecret(s.cfg.Projects[project]).Sign(canonical)
	signed, _ := json.Marshal(b)
	return signed
}

// tell sends a signed callback until it is answered with 200.
func (s *Sim) tell(p *payment, st step) {
	if s.callbackURL() == "" {
		return
	}
	s.mu.Lock()
	body := s.sign(p.body(st), p.key.ProjectID)
	s.mu.Unlock()
	for range s.cfg.CallbackTry {
		if s.post(body) == http.StatusOK {
			s.mu.Lock()
			s.sent++
			p.told = st.status
			s.mu.Unlock()
			return
		}
		if !s.sleep(s.cfg.CallbackGap) {
			return
		}
	}
	s.mu.Lock()
	s.lost++
	s.mu.Unlock()
}

// forge sends callbacks that say the opposite, unsigned and badly signed.
func (s *Sim) forge(p *payment, st step) {
	if s.callbackURL() == "" {
		return
	}
	lie := step{status: "success", code: "0"}
	if st.paid {
		lie = step{status: "decline", code: "20000"}
	}
	s.mu.Lock()
	b := p.body(lie)
	s.mu.Unlock()
	unsigned, _ := json.Marshal(b)
	s.post(unsigned)
	b["signature"] = strings.Repeat("A", 86) + "=="
	bad, _ := json.Marshal(b)
	s.post(bad)
}

// stray sends a signed callback for an id that no one sent.
func (s *Sim) stray(p *payment) {
	if s.callbackURL() == "" {
		return
	}
	s.mu.Lock()
	other := *p
	other.key.PaymentID += "-stray"
	body := s.sign(other.body(step{status: "success", code: "0"}), p.key.ProjectID)
	s.mu.Unlock()
	s.post(body)
}

func (s *Sim) post(body []byte) int { return s.postFor(20*time.Second, body) }

// postFor gives up after a while.
func (s *Sim) postFor(patience time.Duration, body []byte) int {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.callbackURL(), bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.cfg.Transport.RoundTrip(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	_ = res.Body.Close()
	return res.StatusCode
}

func (s *Sim) status(w http.ResponseWriter, r *http.Request) {
	in, ok := s.read(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	s.started++
	d := s.dice("status "+in.key().String(), int(s.started))
	s.mu.Unlock()
	fault := d.first(StatusError, StatusHTML, Status3062, StatusHang, StatusStale)
	s.note(r, in.key(), "status "+string(fault))
	if s.brokenStatus(w, r, fault) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.payments[in.key()]
	if fault == StatusStale && !s.denied[in.key()] {
		p = nil // some replica that is behind
	}
	if !s.answerStatus(w, p, in.General.ProjectID) {
		s.denied[in.key()] = true
	}
}

func (s *Sim) brokenStatus(w http.ResponseWriter, r *http.Request, fault Fault) bool {
	switch fault {
	case StatusError:
		refuse(w, http.StatusInternalServerError, "501")
	case StatusHTML:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<html>not found</html>")
	case Status3062:
		refuse(w, http.StatusOK, gate.CodeNoDetails)
	case StatusHang:
		s.hang(r)
		cut(w)
	default:
		return false
	}
	return true
}

func (s *Sim) statusByRequest(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var in struct {
		ProjectID uint32 `json:"project_id"`
		RequestID string `json:"request_id"`
		Signature string `json:"signature"`
	}
	if err != nil || json.Unmarshal(body, &in) != nil {
		refuse(w, http.StatusUnprocessableEntity, "2003")
		return
	}
	canonical, err := gate.Canonical(body)
	if err != nil || gate.NewSecret(s.cfg.Projects[in.ProjectID]).Sign(canonical) != in.Signature {
		refuse(w, http.StatusBadRequest, "3261")
		return
	}
	s.note(r, payout.Key{ProjectID: in.ProjectID}, "status by request")
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *payment
	for _, p := range s.payments {
		if p.key.ProjectID == in.ProjectID && p.request == in.RequestID {
			found = p
		}
	}
	s.answerStatus(w, found, in.ProjectID)
}

// answerStatus tells of a payment, nil for none, that the endpoint has had the
// time to learn of; otherwise it says "not found" and returns false.
func (s *Sim) answerStatus(w http.ResponseWriter, p *payment, project uint32) bool {
	if p == nil || p.accepted.IsZero() || time.Since(p.accepted) < s.cfg.StatusLag {
		refuse(w, http.StatusOK, gate.CodeNotFound)
		return false
	}
	st := p.status()
	b := p.body(st)
	if op, ok := b["operation"]; ok {
		ops := []any{op}
		if st.part == 2 {
			first := p.body(p.steps[0])
			ops = []any{first["operation"], op}
		}
		b["operations"] = ops
		delete(b, "operation")
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(s.sign(b, project))
	return true
}

// Ledger is what was really accepted and paid, sorted by id.
func (s *Sim) Ledger() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := make([]Entry, 0, len(s.payments))
	for _, p := range s.payments {
		e := Entry{
			Key: p.key, Posts: p.posts, Accepted: p.times, Bodies: len(p.bodies),
			Currency: p.amount.Currency, Asked: p.amount.Minor, Account: p.account, Foreign: p.foreign, Told: p.told,
			Strange: p.strange, Second: p.second, Worded: p.worded,
		}
		if p.times > 0 || p.foreign {
			st := p.status()
			e.Status, e.Final = st.status, st.final
			e.Odd = slices.ContainsFunc(p.steps, func(s step) bool { return s.other })
			switch {
			case st.paid && st.half:
				e.Paid = p.amount.Minor / 2 * int64(p.times)
			case st.paid:
				e.Paid = p.amount.Minor * int64(p.times)
			}
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return entries
}

// History is every request that was read or cut, in order.
func (s *Sim) History() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history)
}

// Stats sums up.
type Stats struct {
	Requests   int           `json:"requests"`
	Payouts    int           `json:"payouts"`    // ids that were accepted at least once
	Doubles    int           `json:"doubles"`    // ids that were accepted more than once
	OtherBody  int           `json:"other_body"` // ids posted with more than one body
	Callbacks  int           `json:"callbacks"`  // answered with 200
	GivenUp    int           `json:"given_up"`   // callbacks that never were
	Faults     map[Fault]int `json:"faults"`
	MaxPerSec  int           `json:"max_per_sec"` // most requests in any second
	FirstToEnd time.Duration `json:"first_to_end"`
}

// Stats counts what has happened so far.
func (s *Sim) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Requests: len(s.history), Callbacks: s.sent, GivenUp: s.lost, Faults: map[Fault]int{}}
	for _, p := range s.payments {
		if p.times > 0 {
			st.Payouts++
		}
		if p.times > 1 {
			st.Doubles++
		}
		if len(p.bodies) > 1 {
			st.OtherBody++
		}
	}
	for f, n := range s.strikes {
		st.Faults[f] = n
	}
	for i, j := 0, 0; j < len(s.history); j++ {
		for s.history[j].At.Sub(s.history[i].At) >= time.Second {
			i++
		}
		st.MaxPerSec = max(st.MaxPerSec, j-i+1)
	}
	if n := len(s.history); n > 0 {
		st.FirstToEnd = s.history[n-1].At.Sub(s.history[0].At)
	}
	return st
}

// Management is the other side: what a test or a person asks the simulator
// itself. It must not share a listener with the API.
func (s *Sim) Management() http.Handler {
	mux := http.NewServeMux()
	reply := func(get func() any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			_ = e.Encode(get())
		}
	}
	mux.HandleFunc("GET /ledger", reply(func() any { return s.Ledger() }))
	mux.HandleFunc("GET /history", reply(func() any { return s.History() }))
	mux.HandleFunc("GET /stats", reply(func() any { return s.Stats() }))
	return mux
}
