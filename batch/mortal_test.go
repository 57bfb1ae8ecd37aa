package batch_test

import (
	"context"
	"errors"
	"iter"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"masspay/gate"
	"masspay/gate/transport"
	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
)

// wire is a network of pipes: what a synctest bubble can wait for.
type wire struct {
	mu      sync.Mutex
	servers map[string]*pipeListener
}

// listen makes a name answer, until the listener is closed.
func (w *wire) listen(address string) *pipeListener {
	l := &pipeListener{address: pipeAddr(address), conns: make(chan net.Conn), closed: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.servers == nil {
		w.servers = map[string]*pipeListener{}
	}
	w.servers[address] = l
	return l
}

var errRefused = errors.New("connection refused")

func (w *wire) dial(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	l := w.servers[address]
	w.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

type pipeListener struct {
	address pipeAddr
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.address }

// mortal is a process that can die, be suspended, or see the wall clock set at any of its steps: before
// and after each call of the store, of the limiter and of the network. What a
// dead process does from then on has no effect.
type mortal struct {
	name string
	dies int64         // at which step; 0: never
	naps int64         // at which step it is suspended; 0: never
	nap  time.Duration // for how long
	sets int64         // at which step someone sets the wall clock; 0: never
	by   time.Duration // by how much

	steps  atomic.Int64
	once   sync.Once
	dead   chan struct{}
	frozen atomic.Pointer[chan struct{}]
	skew   *atomic.Int64 // how far someone has set the wall clock of the machine

	mu    sync.Mutex
	conns []net.Conn
}

var errKilled = errors.New("the process is dead")

func newMortal(name string, skew *atomic.Int64) *mortal {
	return &mortal{name: name, skew: skew, dead: make(chan struct{})}
}

func (m *mortal) step() error {
	n := m.steps.Add(1)
	if n == m.naps {
		woken := make(chan struct{})
		m.frozen.Store(&woken)
		time.AfterFunc(m.nap, func() { close(woken) })
	}
	if n == m.sets {
		m.skew.Store(int64(m.by))
	}
	if n == m.dies {
		m.kill()
	}
	if woken := m.frozen.Load(); woken != nil {
		select {
		case <-*woken:
		case <-m.dead:
		}
	}
	if !m.alive() {
		return errKilled
	}
	return nil
}

func (m *mortal) alive() bool {
	select {
	case <-m.dead:
		return false
	default:
		return true
	}
}

// kill is kill -9: the kernel closes its connections.
func (m *mortal) kill() {
	m.once.Do(func() {
		close(m.dead)
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, c := range m.conns {
			_ = c.Close()
		}
	})
}

// around does something between two steps.
func (m *mortal) around(do func() error) error {
	if err := m.step(); err != nil {
		return err
	}
	err := do()
	return errors.Join(err, m.step())
}

// dialer connects over the wire as this process.
func (m *mortal) dialer(w *wire) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		if err := m.step(); err != nil {
			return nil, err
		}
		c, err := w.dial(ctx, address)
		if err != nil {
			return nil, err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.alive() {
			_ = c.Close()
			return nil, errKilled
		}
		m.conns = append(m.conns, c)
		return c, nil
	}
}

// mortalTrip is the network as a process sees it.
type mortalTrip struct {
	m    *mortal
	next gate.Poster
}

func (t mortalTrip) Post(ctx context.Context, to *transport.Target, body []byte, mayLeave func(bool) error) (transport.Response, bool, error) {
	if err := t.m.step(); err != nil {
		return transport.Response{}, false, err
	}
	res, sent, err := t.next.Post(ctx, to, body, mayLeave)
	if killed := t.m.step(); killed != nil && err == nil {
		return transport.Response{}, sent, killed
	}
	return res, sent, err
}

// mortalLimiter is the limiter as a process sees it.
type mortalLimiter struct {
	m    *mortal
	next gate.Limiter
}

func (l mortalLimiter) Wait(ctx context.Context, patience time.Duration) error {
	return l.m.around(func() error { return l.next.Wait(ctx, patience) })
}

func (l mortalLimiter) Pause(ctx context.Context, until time.Time) error {
	return l.m.around(func() error { return l.next.Pause(ctx, until) })
}

// mortalStore is the store as a process sees it.
type mortalStore struct {
	store.Store
	m     *mortal
	holds *holds
}

func (s *mortalStore) Load(ctx context.Context, b store.Batch, rows iter.Seq2[store.Row, error], allow ...store.Allowance) (l store.Loaded, err error) {
	err = s.m.around(func() error { l, err = s.Store.Load(ctx, b, rows, allow...); return err })
	return l, err
}

func (s *mortalStore) Claim(ctx context.Context, c store.Claim) (out store.Claims, err error) {
	err = s.m.around(func() error {
		out, err = s.Store.Claim(ctx, c)
		s.holds.claimed(s.m, out.Payouts)
		return err
	})
	if err != nil {
		return store.Claims{}, err
	}
	return out, nil
}

func (s *mortalStore) Apply(ctx context.Context, events ...payout.Event) (out []store.Change, err error) {
	err = s.m.around(func() error {
		skewed := make([]payout.Event, len(events))
		for i, e := range events {
			e.At = e.At.Add(time.Duration(s.m.skew.Load()))
			skewed[i] = e
		}
		s.holds.applied(s.m, events)
		out, err = s.Store.Apply(ctx, skewed...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *mortalStore) Recover(ctx context.Context) (n int, err error) {
	err = s.m.around(func() error { n, err = s.Store.Recover(ctx); return err })
	return n, err
}

func (s *mortalStore) Due(ctx context.Context, d store.Due) (out []payout.History, err error) {
	err = s.m.around(func() error { out, err = s.Store.Due(ctx, d); return err })
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *mortalStore) Hold(ctx context.Context, batch string, h store.Hold) error {
	return s.m.around(func() error { return s.Store.Hold(ctx, batch, h) })
}

func (s *mortalStore) LetGo(ctx context.Context, batch string, kinds ...store.HoldKind) (lifted bool, err error) {
	err = s.m.around(func() error { lifted, err = s.Store.LetGo(ctx, batch, kinds...); return err })
	return lifted, err
}

func (s *mortalStore) Batch(ctx context.Context, id string) (b store.Batch, err error) {
	err = s.m.around(func() error { b, err = s.Store.Batch(ctx, id); return err })
	return b, err
}

func (s *mortalStore) List(ctx context.Context, f store.Filter) iter.Seq2[payout.History, error] {
	return func(yield func(payout.History, error) bool) {
		if err := s.m.step(); err != nil {
			yield(payout.History{}, err)
			return
		}
		for r, err := range s.Store.List(ctx, f) {
			if !yield(r, err) {
				return
			}
		}
	}
}

// die closes a process's store as the kernel does: its locks are free, and
// their files stay.
func die(s *bolt.Store, path string) error {
	before, err := filepath.Glob(path + ".owner*")
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	for _, p := range before {
		f, err := os.OpenFile(p, os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// holds is the history of claims, written down by those who make them: each
// payout is held by one living process at a time. A claim is held from the
// return of Claim, when it must be durable, until the attempt's event goes to
// Apply, so that no order of commits makes it accuse wrongly.
type holds struct {
	mu     sync.Mutex
	by     map[payout.Key]*mortal
	faults []string
}

func (h *holds) claimed(m *mortal, claimed []store.Claimed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[payout.Key]*mortal{}
	}
	for _, c := range claimed {
		if other := h.by[c.Key]; other != nil && other.alive() {
			h.faults = append(h.faults, c.Key.String()+" was claimed by "+m.name+" while "+other.name+" held it")
		}
		h.by[c.Key] = m
	}
}

func (h *holds) applied(m *mortal, events []payout.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		// An outcome that overtakes the answer ends the claim as well, but never
		// frees the payout.
		if h.by[e.Key] == m && e.Source == payout.FromRun {
			delete(h.by, e.Key)
		}
	}
}
