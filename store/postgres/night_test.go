package postgres

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/batch"
	"masspay/gate"
	"masspay/gate/gatesim"
	"masspay/gate/transport"
	"masspay/payout"
	"masspay/store"
	"masspay/store/postgres/pgtest"
	"masspay/store/storetest"
)

var (
	nights    = flag.Int("nights", 0, "how many nights TestNights plays (default 30, fewer with -short)")
	nightSeed = flag.Uint64("nights.seed", 0, "seed of TestNights (default: the time)")
)

// Everything that a night waits for is short: no clock can be virtual where a database is
// real. In the order that nothing may be paid twice by.
const (
	nightConfirmed   = 400 * time.Millisecond
	nightSilence     = 1200 * time.Millisecond
	nightQuiet       = 2 * time.Second
	nightStatusAfter = 60 * time.Millisecond
	nightTimeout     = 800 * time.Millisecond
	nightRows        = 60
)

// TestNights plays nights in which three machines send one batch from one database to a
// gate that pays every POST: machines are killed, suspended and cut off from the database, the
// database is stopped without a word, or a standby that lacks the last commits takes its
// place, and the gate does what it does. In the end every row is paid, once.
func TestNights(t *testing.T) {
	t.Parallel()
	n := *nights
	if n <= 0 {
		n = 30
		if testing.Short() {
			n = 2
		}
	}
	seed := *nightSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	c := cluster(t)
	// The database is stopped for all nights at once.
	outages, stop := context.WithCancel(t.Context())
	var weather sync.WaitGroup
	weather.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 1))
		for {
			select {
			case <-outages.Done():
				return
			case <-time.After(time.Duration(2000+rng.IntN(6000)) * time.Millisecond):
			}
			if err := errors.Join(c.Down("immediate"), c.Up()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	limit := make(chan struct{}, 6)
	t.Run("nights", func(t *testing.T) {
		for i := range n {
			t.Run(fmt.Sprint("night=", i), func(t *testing.T) {
				t.Parallel()
				limit <- struct{}{}
				defer func() { <-limit }()
				night, of := rand.New(rand.NewPCG(seed, uint64(i)+2)), c
				failsOver := i%10 == 1
				if failsOver {
					of = cluster(t)
				}
				playNight(t, of, night, failsOver)
			})
		}
	})
	stop()
	weather.Wait()
}

const nightSecret = "secret"

type nightKeys struct{}

func (nightKeys) Signing(p uint32) (gate.Secret, bool) {
	return gate.NewSecret(nightSecret), p == 1234
}
func (nightKeys) Accepted(uint32) []gate.Secret { return []gate.Secret{gate.NewSecret(nightSecret)} }

// machine is a process of a night: it dies as a whole.
type machine struct {
	*Store
	link   *link
	mu     sync.Mutex
	dead   bool
	still  chan struct{} // closed when it goes on; nil: it is not suspended
	toGate map[net.Conn]bool
}

var errDead = errors.New("this machine is dead")

func (m *machine) lives() error {
	for {
		m.mu.Lock()
		still, dead := m.still, m.dead
		m.mu.Unlock()
		switch {
		case dead:
			return errDead
		case still == nil:
			return nil
		}
		<-still
	}
}

// suspend stops a machine where it is, as SIGSTOP does; what lies in the kernel's buffers
// still leaves. It goes on when goOn is called.
func (m *machine) suspend() (goOn func()) {
	still := make(chan struct{})
	m.mu.Lock()
	m.still = still
	m.mu.Unlock()
	thaw := m.link.freeze()
	return func() {
		m.mu.Lock()
		m.still = nil
		m.mu.Unlock()
		close(still)
		thaw()
	}
}

// toGate is a connection to the gate: a machine that is suspended or dead writes nothing.
type toGate struct {
	net.Conn
	m *machine
}

func (c *toGate) Write(b []byte) (int, error) {
	if err := c.m.lives(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// What a dead machine does, does not happen, and what a suspended one does, happens later.

func (m *machine) Claim(ctx context.Context, c store.Claim) (store.Claims, error) {
	if err := m.lives(); err != nil {
		return store.Claims{}, err
	}
	claims, err := m.Store.Claim(ctx, c)
	return claims, errors.Join(err, m.lives())
}

func (m *machine) Apply(ctx context.Context, events ...payout.Event) ([]store.Change, error) {
	if err := m.lives(); err != nil {
		return nil, err
	}
	return m.Store.Apply(ctx, events...)
}

func (m *machine) MaySend(ctx context.Context, dialled bool) error {
	if err := m.lives(); err != nil {
		return err
	}
	return errors.Join(m.Store.MaySend(ctx, dialled), m.lives())
}

func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		_ = c.Close()
		return nil, errDead
	}
	m.toGate[c] = true
	return &toGate{c, m}, nil
}

// kill ends a machine: its connections first, as the kernel does.
func (m *machine) kill(w *world) {
	m.mu.Lock()
	m.dead = true
	for c := range m.toGate {
		_ = c.Close()
	}
	m.mu.Unlock()
	m.link.cut()
	w.Kill(nil, m.Store)
}

// night is one night.
type night struct {
	t    *testing.T
	w    *world
	c    *pgtest.Cluster
	base string
	sim  *gatesim.Sim
	b    store.Batch

	failsOver bool
	askFirst  atomic.Bool // because it failed over
	sleepers  sync.WaitGroup

	mu    sync.Mutex // of what follows, and of c
	rng   *rand.Rand
	links []*link
}

func (n *night) intN(m int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.IntN(m)
}

func playNight(t *testing.T, c *pgtest.Cluster, rng *rand.Rand, failsOver bool) {
	rates := map[gatesim.Fault]float64{}
	for _, f := range []gatesim.Fault{
		gatesim.CutUnread, gatesim.CutBefore, gatesim.CutAfter, gatesim.HangBefore, gatesim.HangAfter, gatesim.Late, gatesim.Error500, gatesim.Accept500,
		gatesim.HTML, gatesim.Garbage, gatesim.Accept429, gatesim.StatusError, gatesim.StatusHTML, gatesim.StatusHang, gatesim.StatusStale,
	} {
		rates[f] = rng.Float64() * 0.06
	}
	sim := gatesim.New(gatesim.Config{
		Seed: rng.Uint64(), Rates: rates, Projects: map[uint32]string{1234: nightSecret}, PayEvery: true, OutcomeAfter: 50 * time.Millisecond,
		StatusLag: time.Duration(rng.IntN(300)) * time.Millisecond, LateBy: 400 * time.Millisecond, HangFor: time.Second,
	})
	server := httptest.NewServer(sim)
	defer func() {
		sim.Close()
		server.CloseClientConnections()
		server.Close()
	}()
	n := &night{t: t, c: c, base: server.URL, sim: sim, rng: rng, failsOver: failsOver}
	n.patiently("the night's schema", func() error {
		var err error
		n.w, err = worldAt(t, c.URL("postgres"))
		return err
	})
	n.w.o.Rules = payout.Rules{StatusAfter: nightStatusAfter, QuietPeriod: nightQuiet}
	rows := make([]store.Row, nightRows)
	for i := range rows {
		rows[i] = nightRow(i)
	}
	first := n.open()
	n.patiently("the load", func() error {
		l, err := first.Load(t.Context(), storetest.BatchOf("night", rows), storetest.All(rows))
		if errors.Is(err, store.ErrLoaded) {
			n.b, err = first.Batch(t.Context(), storetest.BatchOf("night", rows).ID)
			return err
		}
		n.b = l.Batch
		return err
	})
	n.patiently("the proof", func() error { return first.Prove(t.Context(), payoutIdentity(t, n.base)) })
	first.end()
	ctx, over := context.WithTimeout(t.Context(), 3*time.Second)
	var machines sync.WaitGroup
	for range 3 {
		machines.Go(func() {
			for ctx.Err() == nil {
				n.live(ctx)
			}
		})
	}
	if failsOver {
		machines.Go(n.failOver)
	}
	machines.Wait()
	over()
	for try := 0; !n.through(); try++ {
		require.Less(t, try, 30, "it does not end: %v", n.b.Counts)
	}
	n.sleepers.Wait()
	n.judge()
}

// nightRow is a row that a gate pays.
func nightRow(i int) store.Row {
	id := fmt.Sprintf("n-%04d", i)
	columns := storetest.Columns
	cells := make([]string, len(columns))
	for j, c := range columns {
		cells[j] = map[string]string{
			"operation_type": "payout", "general.project_id": "1234", "method": "sbp-p2p", "general.payment_id": id, "payment.amount": strconv.Itoa(1000 + i),
			"payment.currency": "KGS", "account.number": fmt.Sprintf("99655512%02d%02d", i, 20+i%60), "customer.last_name": "Asanov", "customer.id": "c-" + id,
		}[c]
	}
	r := storetest.Row(id, int64(1000+i), i+2)
	r.Cells, r.Canonical = cells, []byte(id)
	return r
}

func payoutIdentity(t *testing.T, base string) string {
	id, err := payout.GateIdentity(base)
	require.NoError(t, err)
	return id
}

// patiently repeats what a database that is away has no time for.
func (n *night) patiently(what string, do func() error) {
	var err error
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); <-time.After(100 * time.Millisecond) { // its server may need minutes to stop on a busy machine
		if err = do(); err == nil {
			return
		}
	}
	require.NoError(n.t, err, what)
}

func (m *machine) end() { _ = m.Close() }

// open begins a machine, with a way to the database of its own.
func (n *night) open() *machine {
	n.mu.Lock()
	l := newLinkTo(n.t, n.c)
	n.links = append(n.links, l)
	n.mu.Unlock()
	o := n.w.options()
	o.URL, o.Marker = l.url(), n.w.o.Marker+strconv.FormatInt(o.process.pid, 10)
	o.every, o.confirmed, o.silence, o.Wait = 100*time.Millisecond, nightConfirmed, nightSilence, 2*time.Second
	m := &machine{link: l, toGate: map[net.Conn]bool{}}
	n.patiently("open", func() (err error) { m.Store, err = Open(n.t.Context(), o); return err })
	return m
}

func (n *night) runner(m *machine, wait time.Duration) (*batch.Runner, func()) {
	l, err := m.Limiter(300, 2)
	require.NoError(n.t, err)
	over := transport.New(4)
	over.Proxy, over.DialContext = nil, m.dial
	client, err := gate.NewClient(gate.Options{BaseURL: n.base, Keys: nightKeys{}, Limiter: l, Timeout: nightTimeout, Transport: over, MaySend: m.MaySend})
	require.NoError(n.t, err)
	return &batch.Runner{
			Store: m, Gate: client, Rate: 40, Workers: 4, Timeout: nightTimeout, Attempts: 20, MaxRefusals: 1000, StatusAfter: nightStatusAfter, Wait: wait, By: "night", AskFirst: n.askFirst.Load(),
		}, func() {
			client.Close()
			_ = l.Close()
			over.CloseIdleConnections()
		}
}

// live is a machine's life: it works until it dies, or is cut off for a while.
func (n *night) live(ctx context.Context) {
	fate := n.intN(5)
	if fate != suspended {
		n.liveTo(ctx, fate)
		return
	}
	n.sleepers.Go(func() { // it outlives the others
		ctx, cancel := context.WithTimeout(n.t.Context(), 12*time.Second)
		defer cancel()
		n.liveTo(ctx, fate)
	})
	<-time.After(200 * time.Millisecond)
}

// What becomes of a machine; 4: nothing.
const (
	killed    = 0
	killedToo = 1
	cutOff    = 2
	suspended = 3
)

func (n *night) liveTo(ctx context.Context, fate int) {
	m := n.open()
	r, closed := n.runner(m, 2*time.Second)
	after := time.Duration(100+n.intN(1500)) * time.Millisecond
	done := make(chan struct{})
	var destiny sync.WaitGroup
	destiny.Go(func() {
		select {
		case <-done:
			return
		case <-time.After(after):
		}
		switch fate {
		case killed, killedToo:
			m.kill(n.w)
		case cutOff:
			m.link.cut()
			select {
			case <-done:
			case <-time.After(time.Duration(n.intN(2500)) * time.Millisecond):
			}
			m.link.mend()
		case suspended: // for less than the fence, or until others may have sent what it claimed
			asleep := time.Duration(n.intN(int(nightSilence.Milliseconds()))) * time.Millisecond
			if n.intN(3) > 0 {
				asleep += nightSilence + nightQuiet + time.Duration(n.intN(4000))*time.Millisecond
			}
			goOn := m.suspend()
			<-time.After(asleep)
			goOn()
		}
	})
	_, err := r.Run(ctx, n.b.ID) // however it ends
	n.heed(err)
	close(done)
	destiny.Wait()
	closed()
	if m.lives() == nil {
		m.link.mend()
	}
	m.end()
}

// heed does what a person does who is told that the store is a restored copy.
func (n *night) heed(err error) {
	if errors.Is(err, store.ErrRestored) {
		require.True(n.t, n.failsOver, "nothing was restored: %v", err)
		n.askFirst.Store(true)
	}
}

// failOver has a standby that lacks the last commits take the primary's place, some time
// after it heard the last of it.
func (n *night) failOver() {
	wait := func(most int) { <-time.After(time.Duration(n.intN(most)) * time.Millisecond) }
	wait(1500)
	standby, err := n.c.Copy()
	require.NoError(n.t, err)
	n.t.Cleanup(standby.Remove)
	wait(800)
	require.NoError(n.t, n.c.Down("immediate"))
	require.NoError(n.t, errors.Join(standby.Standby(), standby.Up(), standby.Run("pg_ctl", "-D", standby.Dir, "-w", "promote")))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.c = standby
	for _, l := range n.links {
		l.moveTo(standby)
	}
}

// through runs one more machine, and reports whether nothing is open any more.
func (n *night) through() bool {
	m := n.open()
	defer m.end()
	r, closed := n.runner(m, 8*time.Second)
	defer closed()
	ctx, cancel := context.WithTimeout(n.t.Context(), 20*time.Second)
	defer cancel()
	out, err := r.Run(ctx, n.b.ID)
	n.heed(err)
	n.patiently("the batch", func() error {
		b, err := m.Batch(n.t.Context(), n.b.ID)
		if err == nil {
			n.b = b
		}
		return err
	})
	if n.b.Open() > 0 {
		n.t.Logf("not through: %+v, %v; %+v", n.b.Counts, err, out)
	}
	return n.b.Open() == 0
}

// judge holds the ledger against the store.
func (n *night) judge() {
	booked := map[payout.Key]gatesim.Entry{}
	for _, e := range n.sim.Ledger() {
		booked[e.Key] = e
		require.LessOrEqual(n.t, e.Accepted, 1, "%s was paid twice", e.Key)
		require.LessOrEqual(n.t, e.Bodies, 1, "%s was posted with two bodies", e.Key)
	}
	m := n.open()
	defer m.end()
	n.patiently("the end", func() error {
		lines := 0
		for l, err := range m.Lines(n.t.Context(), n.b.ID) {
			if err != nil {
				return err
			}
			lines++
			e := booked[l.Payout.Key]
			paid := l.Payout.State == payout.StatePaid
			require.Equal(n.t, e.Paid > 0, paid, "%s is %s, and by the ledger %d moved", l.Payout.Key, l.Payout.State, e.Paid)
		}
		require.Equal(n.t, nightRows, lines)
		x, err := m.Examine(n.t.Context())
		if err == nil {
			require.Empty(n.t, x.Wrong)
		}
		return err
	})
}
