package batch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/batch"
	"masspay/batch/payfile"
	"masspay/gate"
	"masspay/gate/gatesim"
	"masspay/gate/transport"
	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/clock"
	"masspay/store/seal"
	"masspay/store/storetest"
	"masspay/web"
)

var (
	stormSeeds = flag.Int("storm.seeds", 0, "how many nights TestStorm simulates (default 300, fewer with -race and -short)")
	stormFirst = flag.Uint64("storm.first", 1, "the first seed of TestStorm")
)

// TestStorm simulates whole nights in virtual time: the real engine, client,
// store and callback server against the hostile simulator, which pays every
// POST that it accepts. Processes die and are suspended between any two of
// their steps, overlap, and are started again until everything is final.
// Every seed is another night and can be run alone.
func TestStorm(t *testing.T) {
	t.Parallel()
	n := *stormSeeds
	switch {
	case n > 0:
	case testing.Short():
		n = 20
	case raceDetector:
		n = 60
	default:
		n = 300
	}
	var sum weather
	t.Run("nights", func(t *testing.T) {
		for seed := *stormFirst; seed < *stormFirst+uint64(n); seed++ {
			t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
				t.Parallel()
				folder := stormFolder(t)
				synctest.Test(t, func(t *testing.T) { newNight(t, seed, folder, nil).play(&sum) })
			})
		}
	})
	said := "0 paid twice, 0 lost"
	if t.Failed() {
		said = "SOME NIGHTS FAILED"
	}
	t.Logf("%s; %s", &sum, said)
}

// TestFourPercentOfEverything is one night with 4 % of each transport fault, so
// that half of all requests go wrong, and every tenth callback lost: 1,000 rows
// end as the gate has them.
func TestFourPercentOfEverything(t *testing.T) {
	t.Parallel()
	folder, seed := stormFolder(t), *stormFirst
	if seed == 1 {
		seed = uint64(rand.Uint32())
	}
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		n := newNight(t, seed, folder, func(c *gatesim.Config) {
			c.PayEvery, c.Rates = true, map[gatesim.Fault]float64{gatesim.Never: 0.10}
			for _, f := range []gatesim.Fault{
				gatesim.CutUnread, gatesim.CutBefore, gatesim.CutAfter, gatesim.HangBefore, gatesim.HangAfter, gatesim.Late,
				gatesim.Error500, gatesim.Accept500, gatesim.TooMany, gatesim.HTML, gatesim.Garbage, gatesim.Redirect,
			} {
				c.Rates[f] = 0.04
			}
		})
		n.copied, n.crashes, n.vanishes = false, 0, false // a person resolves as not paid what a vanished process was sending
		n.files = []string{file("four", 1_000)}
		var sum weather
		n.play(&sum)
		require.Zero(t, n.weather.open)
		require.Equal(t, 1_000, n.weather.paid)
		t.Logf("seed %d: %d requests, %d faults in %v: 1,000 of 1,000 paid, none twice", n.seed, n.weather.requests, n.weather.faults, n.weather.virtual.Round(time.Minute))
	})
}

// TestManyProcessesKeepTheRate has three runs of one file and a reconcile beside
// them: nothing twice, and the rate as seen from the gate, in every second.
func TestManyProcessesKeepTheRate(t *testing.T) {
	t.Parallel()
	folder := stormFolder(t)
	synctest.Test(t, func(t *testing.T) {
		n := newNight(t, 1, folder, func(c *gatesim.Config) {
			c.PayEvery, c.OutcomeAfter, c.StatusLag = true, 10*time.Millisecond, 0
			c.Rates = map[gatesim.Fault]float64{gatesim.Never: 0.2}
		})
		n.copied, n.crashes, n.rate, n.files = false, 0, 150, []string{file("rate", 900)}
		require.NoError(t, bolt.Create(t.Context(), n.o))
		stopGate := n.serveGate()
		stopServing := n.serveAlways()
		var runs, asking sync.WaitGroup
		for i := range 3 {
			m := newMortal(fmt.Sprint("run ", i), &n.skew)
			runs.Go(func() {
				_, err := n.run(m, n.files[0], time.Minute)
				if err != nil {
					n.t.Errorf("%s: %v", m.name, err)
				}
			})
		}
		stop := make(chan struct{})
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
					n.reconcile(newMortal("reconcile", &n.skew))
				}
			}
		})
		runs.Wait()
		close(stop)
		asking.Wait()
		require.True(t, n.done())
		stopServing()
		stopGate()
		st := n.sim.Stats()
		require.LessOrEqual(t, st.MaxPerSec, 150+1)
		require.GreaterOrEqual(t, st.MaxPerSec, 148, "and the rate is used")
		require.Equal(t, 900, st.Payouts)
		n.check()
	})
}

// serveGate lets the simulator answer until it is stopped.
func (n *stormNight) serveGate() (stop func()) {
	server := &http.Server{Handler: n.sim, ErrorLog: quiet}
	for _, address := range []string{firstGate, secondGate} {
		l := n.wire.listen(strings.TrimPrefix(address, "http://") + ":80")
		go func() { _ = server.Serve(l) }()
	}
	return func() {
		n.sim.Close()
		require.NoError(n.t, server.Close())
	}
}

// stormFolder is in memory where that is possible: what a power cut does to a
// disk is another test's business.
func stormFolder(t *testing.T) string {
	folder, err := os.MkdirTemp("/dev/shm", "masspay-storm-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	return folder
}

// weather sums up what the nights had.
type weather struct {
	mu                               sync.Mutex
	nights, rows, runs, deaths, naps int
	restores, steps                  int
	strangers, moves, vanished       int
	resolved                         int
	requests, faults, paid, open     int
	virtual                          time.Duration
}

func (w *weather) add(v *weather) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nights++
	w.rows += v.rows
	w.runs += v.runs
	w.deaths += v.deaths
	w.naps += v.naps
	w.restores += v.restores
	w.steps += v.steps
	w.strangers += v.strangers
	w.moves += v.moves
	w.vanished += v.vanished
	w.resolved += v.resolved
	w.requests += v.requests
	w.faults += v.faults
	w.paid += v.paid
	w.open += v.open
	w.virtual += v.virtual
}

func (w *weather) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%d nights (%v): %d rows, %d runs, %d processes killed, %d suspended, %d clocks set, %d stores restored from a copy, %d callbacks of others' payments before a load, %d gates moved, %d lock files vanished, %d payouts resolved by a person, %d requests, %d faults: %d rows paid, %d that the gate never decides, the others refused",
		w.nights, w.virtual.Round(time.Hour), w.rows, w.runs, w.deaths, w.naps, w.steps, w.restores, w.strangers, w.moves, w.vanished, w.resolved, w.requests, w.faults, w.paid, w.open)
}

// The times of a night. They are to each other as the defaults are; what is
// late at the gate is late by less than the quiet period, which is what the
// quiet period is for.
const (
	nightStatusAfter = time.Second
	nightQuiet       = 20 * time.Second
	nightTimeout     = 2 * time.Second
	nightLate        = 7 * time.Second
)

// stormNight is one seed.
type stormNight struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	mu      sync.Mutex // of rng, story and weather
	story   []string
	begun   time.Time
	weather weather

	wire     wire
	sim      *gatesim.Sim
	holds    holds
	skew     atomic.Int64 // of the wall clock
	log      syncBuffer
	o        bolt.Options
	files    []string // texts
	batches  []store.Batch
	askFirst bool
	crashes  int // still to come
	rate     float64
	copied   bool // the store will be lost, and come back as a copy
	marked   []byte
	base     string   // address of the gate
	aliases  []string // of the gate, once it has moved
	vanishes bool     // lock files vanish
	mute     bool     // the gate never says whom a payment is for
	controls bool     // everything that a finance team can switch on is on
}

func newNight(t *testing.T, seed uint64, folder string, change func(*gatesim.Config)) *stormNight {
	n := &stormNight{t: t, seed: seed, rate: 200, base: firstGate, rng: rand.New(rand.NewPCG(seed, 20261122)), begun: time.Now(), controls: seed%3 == 0}
	n.o = bolt.Options{
		Path: filepath.Join(folder, "masspay.db"), Key: seal.NewKey(), Wait: time.Hour,
		Rules: payout.Rules{StatusAfter: nightStatusAfter, QuietPeriod: nightQuiet},
	}
	rates := map[gatesim.Fault]float64{}
	for _, f := range gatesim.Faults {
		switch n.rng.IntN(3) {
		case 0:
			rates[f] = n.rng.Float64() * 0.05
		case 1:
			rates[f] = n.rng.Float64() * 0.25
		}
	}
	// These end a run, each time.
	for _, f := range []gatesim.Fault{gatesim.Before403, gatesim.After403, gatesim.After404} {
		rates[f] /= 10
	}
	n.copied = n.rng.IntN(4) == 0
	says := []gatesim.Says{gatesim.SaysCustomer, gatesim.SaysBoth, gatesim.SaysNothing}[n.rng.IntN(3)]
	if n.copied {
		// What the lost store alone was told, the copy cannot know; and of what a lost
		// store has sent, the gate must say whose it is.
		rates[gatesim.Second], rates[gatesim.Word] = 0, 0
		if says == gatesim.SaysNothing {
			says = gatesim.SaysCustomer
		}
	}
	n.mute = says == gatesim.SaysNothing
	n.vanishes = !n.copied && n.rng.IntN(5) == 0
	cfg := gatesim.Config{
		Says: says,
		Seed: seed, Projects: map[uint32]string{1234: secret}, Rates: rates,
		Callback: "http://masspay.example/callbacks", PayEvery: n.rng.IntN(4) > 0,
		OutcomeAfter: n.upTo(20 * time.Second), StatusLag: n.upTo(nightLate), LateBy: n.upTo(nightLate),
		HangFor: time.Minute, DelayBy: n.upTo(time.Minute), CallbackGap: n.upTo(10 * time.Second),
		Transport: &http.Transport{DialContext: newMortal("the gate", &n.skew).dialer(&n.wire), DisableKeepAlives: true},
	}
	if change != nil {
		change(&cfg)
	}
	n.sim = gatesim.New(cfg)
	n.crashes = n.rng.IntN(8)
	n.files = []string{n.file(1 + n.rng.IntN(30))}
	if n.rng.IntN(3) == 0 {
		// Another file repeats some of the rows and brings new ones.
		head := strings.SplitAfter(n.files[0], "\n")
		n.files = append(n.files, strings.Join(head[:1+n.rng.IntN(len(head)-1)], "")+n.more(1+n.rng.IntN(10)))
	}
	for _, f := range n.files {
		n.weather.rows += strings.Count(f, "\n") - 1
	}
	return n
}

// upTo is for the plan of a night, before anybody plays.
func (n *stormNight) upTo(d time.Duration) time.Duration {
	return time.Duration(n.rng.Int64N(int64(d)))
}

// file makes rows, most of which are paid in the end.
func (n *stormNight) file(rows int) string {
	var b strings.Builder
	b.WriteString(header)
	for i := range rows {
		suffix := 20 + n.rng.IntN(80)
		if n.rng.IntN(3) == 0 {
			// But for refusals of the configuration or for lack of money, which
			// end a run.
			suffix = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15}[n.rng.IntN(14)]
			if n.copied && suffix == 7 {
				suffix = 1 // that the money came back may be what the lost store alone was told
			}
			if n.mute && suffix == 15 {
				suffix = 1 // after a doubt, another's payment of the id of which nothing is said counts as ours
			}
		}
		b.WriteString(line(fmt.Sprintf("s-%03d", i), 1000+i, suffix))
	}
	return b.String()
}

func (n *stormNight) more(rows int) string {
	var b strings.Builder
	for i := range rows {
		b.WriteString(line(fmt.Sprintf("m-%03d", i), 5000+i, 20+n.rng.IntN(80)))
	}
	return b.String()
}

// tell keeps the story for a failing night.
func (n *stormNight) tell(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.story = append(n.story, fmt.Sprintf("%10.3fs ", time.Since(n.begun).Seconds())+fmt.Sprintf(format, args...))
}

// throw is the dice for what happens while several goroutines play.
func (n *stormNight) throw(sides int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.IntN(sides)
}

// process makes one that may die, as long as crashes are left.
func (n *stormNight) process(name string, mayDie bool) *mortal {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := newMortal(name, &n.skew)
	if !mayDie {
		return m
	}
	if n.crashes > 0 && n.rng.IntN(3) > 0 {
		n.crashes--
		n.weather.deaths++
		m.dies = 1 + n.rng.Int64N(1+n.rng.Int64N(400))
	}
	if n.rng.IntN(4) == 0 {
		n.weather.steps++
		m.sets, m.by = 1+n.rng.Int64N(200), n.upTo(10*time.Hour)-5*time.Hour
	}
	if n.rng.IntN(4) == 0 {
		n.weather.naps++
		m.naps, m.nap = 1+n.rng.Int64N(100), n.upTo(3*time.Minute)
	}
	return m
}

func (n *stormNight) play(sum *weather) {
	t := n.t
	defer func() {
		if t.Failed() {
			n.explain()
			t.Logf("run it alone: go test ./batch -run '^%s$' -storm.first=%d -storm.seeds=1\n%s", strings.Split(t.Name(), "/")[0], n.seed, strings.Join(n.story, "\n"))
		}
	}()
	require.NoError(t, bolt.Create(t.Context(), n.o))
	stopGate := n.serveGate()
	stopServing := n.serveAlways()
	n.strangers()
	copied := n.copied
	for evening := 0; !n.done(); evening++ {
		require.Less(t, evening, 100, "the night does not end")
		if evening > 0 && len(n.aliases) == 0 && n.throw(8) == 0 {
			n.move()
		}
		n.runSome(evening)
		if evening > 10 {
			n.resolveBarred()
		}
		time.Sleep(time.Duration(n.throw(30_000)) * time.Millisecond) //nolint:forbidigo // virtual
		if copied && evening == 0 {
			n.backup()
		}
		if copied && evening > 0 && n.throw(2) == 0 {
			stopServing()
			n.restore()
			stopServing = n.serveAlways()
			copied = false
		}
	}
	n.settle()
	stopServing()
	stopGate()
	n.check()
	n.weather.virtual = time.Since(n.begun)
	sum.add(&n.weather)
}

// The addresses of the gate, before and after it moved.
const (
	firstGate  = "http://gate.example"
	secondGate = "http://moved.example"
)

// strangers tell of other people's payments of some ids before their file is loaded.
func (n *stormNight) strangers() {
	for range n.throw(2) * n.throw(4) {
		row := n.throw(strings.Count(n.files[0], "\n") - 1)
		if n.sim.Strange(payout.Key{ProjectID: 1234, PaymentID: fmt.Sprintf("s-%03d", row)}, payout.Amount{Minor: int64(1000 + row), Currency: "KGS"}, n.throw(12)) {
			n.count(&n.weather.strangers)
			n.tell("a stranger's payment of s-%03d was told", row)
		}
	}
}

// move gives the gate another address, and the configuration says so.
func (n *stormNight) move() {
	n.count(&n.weather.moves)
	n.mu.Lock() // serve may be restarting
	n.base, n.aliases = secondGate, []string{firstGate, secondGate}
	n.o.Rules.Aliases = n.aliases
	n.mu.Unlock()
	n.tell("the gate moves")
}

// vanish removes the lock files of living processes, and of dead ones.
func (n *stormNight) vanish() {
	time.Sleep(time.Duration(n.throw(8_000)) * time.Millisecond) //nolint:forbidigo // virtual
	files, err := filepath.Glob(n.o.Path + ".owner-*")
	require.NoError(n.t, err)
	for _, f := range files {
		if os.Remove(f) == nil {
			n.count(&n.weather.vanished)
			n.tell("%s vanishes", filepath.Base(f))
		}
	}
}

// resolveBarred is a person who knows the gate's ledger: what a vanished process was
// sending, and the gate never had, was not paid.
func (n *stormNight) resolveBarred() {
	s, end := n.open(newMortal("person", &n.skew))
	defer end()
	accepted := map[payout.Key]bool{}
	for _, e := range n.sim.Ledger() {
		accepted[e.Key] = e.Accepted > 0 || e.Foreign
	}
	q := &batch.Reconciler{Store: s, Gate: n.client(newMortal("person's client", &n.skew), s), Workers: 1, Timeout: nightTimeout, StatusAfter: nightStatusAfter, Aliases: n.aliases}
	var blocked []payout.History
	for r, err := range s.List(context.Background(), store.Filter{States: []payout.State{payout.StateUnknown}}) {
		require.NoError(n.t, err)
		if r.Bar != (payout.Bar{}) && !accepted[r.Key] {
			blocked = append(blocked, r)
		}
	}
	for _, r := range blocked {
		rec, heard, err := q.Poll(context.Background(), r.Key)
		decide := batch.ResolveRequest{Key: r.Key, As: payout.StateDeclined, Person: "jan@desk", Reason: "the gate never had it", AgeAnyway: true}
		if err == nil {
			err = decide.MayResolve(rec, heard, nightQuiet, time.Now(), clock.Tick())
		}
		var refused *batch.RefusedError
		if errors.As(err, &refused) {
			n.tell("%s may not be resolved: %v", r.Key, err)
			continue
		}
		require.NoError(n.t, err)
		_, err = decide.Apply(context.Background(), s, rec.Payout)
		require.NoError(n.t, err)
		n.count(&n.weather.resolved)
		n.tell("%s is resolved as not paid", r.Key)
	}
}

var quiet = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)

// settle waits until no callback is on its way any more.
func (n *stormNight) settle() { time.Sleep(5 * time.Minute) } //nolint:forbidigo // virtual

// open opens the store as a process. close does what its end does.
func (n *stormNight) open(m *mortal) (s *mortalStore, end func()) {
	n.mu.Lock()
	o := n.o
	n.mu.Unlock()
	o.Now = func() time.Time { return time.Now().Add(time.Duration(m.skew.Load())) }
	b, err := bolt.Open(context.Background(), o)
	require.NoError(n.t, err)
	return &mortalStore{Store: b, m: m, holds: &n.holds}, func() {
		if m.alive() {
			require.NoError(n.t, b.Close())
			return
		}
		require.NoError(n.t, die(b, n.o.Path))
	}
}

// serveAlways keeps a callback server running: when it dies it is started
// again, after a while.
func (n *stormNight) serveAlways() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			m := n.process("serve", true)
			n.serve(ctx, m)
			n.tell("serve ended after %d steps", m.steps.Load())
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(n.throw(60)) * time.Second):
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (n *stormNight) serve(ctx context.Context, m *mortal) {
	s, end := n.open(m)
	defer end()
	committer := web.NewCommitter(s)
	working, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { committer.Run(working) })
	l := n.wire.listen("masspay.example:80")
	h := &web.Callbacks{Keys: keys{}, Committer: committer, Log: slog.New(slog.NewJSONHandler(&n.log, nil))}
	server := &http.Server{Handler: h, ErrorLog: quiet}
	wg.Go(func() { _ = server.Serve(l) })
	select {
	case <-ctx.Done():
	case <-m.dead:
	}
	_ = server.Close()
	stop()
	wg.Wait()
}

// runSome starts one run, or several at once, of one file or of all.
func (n *stormNight) runSome(evening int) {
	var wg sync.WaitGroup
	text := n.files[n.throw(len(n.files))]
	asleep := false
	for i := range 1 + n.throw(2)*n.throw(3) {
		m := n.process(fmt.Sprintf("run %d.%d", evening, i), true)
		if n.throw(3) == 0 {
			text = n.files[n.throw(len(n.files))]
		}
		wait := []time.Duration{0, 10 * time.Second, 2 * time.Minute}[n.throw(3)]
		if asleep {
			wait = 2 * time.Minute // and outlasts the one that was suspended with claims in its hands
		}
		asleep = asleep || m.naps > 0
		mine := text
		wg.Go(func() {
			n.tell("%s starts, dies at step %d, naps at step %d for %v", m.name, m.dies, m.naps, m.nap)
			out, err := n.run(m, mine, wait)
			n.tell("%s ended after %d steps: %+v, %v", m.name, m.steps.Load(), out, err)
			if err != nil && !errors.Is(err, errKilled) && m.alive() && !heldElsewhere(err) {
				n.t.Errorf("%s: %v", m.name, err)
			}
		})
	}
	if n.vanishes && n.throw(2) == 0 {
		wg.Go(n.vanish)
	}
	if n.throw(4) == 0 {
		m := n.process(fmt.Sprintf("reconcile %d", evening), true)
		wg.Go(func() { n.reconcile(m) })
	}
	wg.Wait()
}

func (n *stormNight) reconcile(m *mortal) {
	s, end := n.open(m)
	defer end()
	a, err := (&batch.Reconciler{Store: s, Gate: n.client(m, s), Workers: 4, Timeout: nightTimeout, StatusAfter: nightStatusAfter, Aliases: n.aliases}).Round(context.Background(), "")
	n.tell("%s: %+v, %v", m.name, a, err)
}

func (n *stormNight) client(m *mortal, s store.Store) *gate.Client {
	l, err := s.Limiter(n.rate, 1)
	require.NoError(n.t, err)
	n.t.Cleanup(func() { _ = l.Close() })
	over := transport.New(8)
	over.Proxy, over.DialContext = nil, m.dialer(&n.wire)
	c, err := gate.NewClient(gate.Options{
		BaseURL: n.base, Keys: keys{}, Limiter: mortalLimiter{m, l}, Timeout: nightTimeout, Transport: mortalTrip{m, over}, MaySend: s.MaySend,
	})
	require.NoError(n.t, err)
	n.t.Cleanup(over.CloseIdleConnections)
	return c
}

// run does what masspay run does with a file.
func (n *stormNight) run(m *mortal, text string, wait time.Duration) (batch.Ending, error) {
	s, end := n.open(m)
	defer end()
	n.count(&n.weather.runs)
	if n.askFirst { // before the file is loaded: what a callback says of it is then compared as in a copy
		if err := s.AskFirst(context.Background()); err != nil {
			return batch.Ending{}, err
		}
	}
	b, err := n.load(s, text)
	if err != nil {
		return batch.Ending{}, err
	}
	if n.controls && n.throw(2) == 0 {
		// A person lets go what a canary or a breaker holds.
		if _, err := s.LetGo(context.Background(), b.ID, store.PersonLifts()...); err != nil {
			return batch.Ending{}, err
		}
	}
	r := &batch.Runner{
		Store: s, Gate: n.client(m, s), Rate: n.rate, Workers: 1 + n.throw(8), Timeout: nightTimeout, Attempts: 5, MaxRefusals: 20,
		StatusAfter: nightStatusAfter, Wait: wait, AskFirst: n.askFirst, Aliases: n.aliases, Notify: func(text string) { _, _ = fmt.Fprintln(&n.log, text) },
	}
	if n.controls {
		r.Canary, r.By = batch.NewCanary(n.throw(4)), "storm"
		r.Breaker = batch.Breaker{DeclinedPercent: 10 + n.throw(40), DeclinedLeast: 1 + n.throw(5), Hold: n.throw(2) == 0}
	}
	return r.Run(context.Background(), b.ID)
}

func (n *stormNight) count(what *int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*what++
}

func (n *stormNight) load(s store.Store, text string) (store.Batch, error) {
	in, err := payfile.Open("-", strings.NewReader(text))
	if err != nil {
		return store.Batch{}, err
	}
	defer func() { _ = in.Close() }()
	id, err := in.ID()
	if err != nil {
		return store.Batch{}, err
	}
	b, err := s.Batch(context.Background(), id)
	if !errors.Is(err, store.ErrNoBatch) {
		return b, err
	}
	c := &payfile.Checker{Store: s, Projects: project1234}
	var allow []store.Allowance
	if n.controls {
		c.Lookalikes = payfile.Lookalikes{Twins: payfile.Warn, IDs: payfile.Warn, Changed: payfile.Warn, Since: time.Now().AddDate(0, 0, -10)}
		c.Limits = &payfile.Limits{Rules: []payfile.Rule{{Currency: "KGS", Day: math.MaxInt64, PayeeDay: math.MaxInt64}}}
		a, _ := c.Limits.Allowance("night", time.Now().AddDate(0, 0, -1))
		allow = append(allow, a)
	}
	k, err := c.Check(context.Background(), in)
	if err != nil {
		return store.Batch{}, err
	}
	l, err := k.Load(context.Background(), s, in, nil, allow...)
	if errors.Is(err, store.ErrLoaded) {
		return s.Batch(context.Background(), id)
	}
	return l.Batch, err
}

// heldElsewhere reports whether a file was refused because its rows stand in another one, too,
// which is held.
func heldElsewhere(err error) bool {
	var refused *payfile.FileError
	return errors.As(err, &refused) && refused.Count == 1 && strings.Contains(refused.Problems[0].Text, "which is held by")
}

// done reports whether every file is loaded and nothing of it is open, but for
// what the gate itself never decides.
func (n *stormNight) done() bool {
	s, end := n.open(newMortal("look", &n.skew))
	defer end()
	n.batches = n.batches[:0]
	for b, err := range s.Batches(context.Background()) {
		require.NoError(n.t, err)
		n.batches = append(n.batches, b)
	}
	if len(n.batches) < len(n.files) {
		return false
	}
	booked := map[payout.Key]gatesim.Entry{}
	for _, e := range n.sim.Ledger() {
		booked[e.Key] = e
	}
	for r, err := range s.List(context.Background(), store.Filter{}) {
		require.NoError(n.t, err)
		if e := booked[r.Key]; r.Waiting() && (r.State != payout.StateAccepted || e.Final || e.Accepted == 0) {
			return false
		}
	}
	return true
}

// backup takes a copy, with masspay backup or by copying the file while no one
// works.
func (n *stormNight) backup() {
	s, end := n.open(newMortal("backup", &n.skew))
	defer end()
	to := n.o.Path + ".copy"
	n.tell("backup")
	marked, err := os.ReadFile(n.o.Path + ".marker")
	require.NoError(n.t, err)
	n.marked = marked
	if n.throw(2) == 0 {
		require.NoError(n.t, s.Store.(store.Backuper).Backup(context.Background(), to))
		return
	}
	b, err := os.ReadFile(n.o.Path)
	require.NoError(n.t, err)
	require.NoError(n.t, os.WriteFile(to, b, 0o600))
}

// restore puts the copy in the store's place. If its marker came back as well,
// only a person can know that it is a copy; otherwise masspay must.
func (n *stormNight) restore() {
	n.count(&n.weather.restores)
	before := n.generation()
	require.NoError(n.t, os.Rename(n.o.Path+".copy", n.o.Path))
	whole := n.throw(2) == 0
	if whole {
		require.NoError(n.t, os.WriteFile(n.o.Path+".marker", n.marked, 0o600))
	}
	want := store.ErrRestored
	if lost := !whole && n.throw(2) == 0; lost {
		require.NoError(n.t, os.Remove(n.o.Path+".marker"))
		want, before = store.ErrNoMarker, nil
	}
	n.tell("the store is last night's copy (its marker too: %v; else %v)", whole, want)
	sent := len(n.sim.History())
	if !whole && !bytes.Equal(before, n.marked) {
		_, err := n.run(newMortal("unasked", &n.skew), n.files[0], 0)
		if !heldElsewhere(err) {
			require.ErrorIs(n.t, err, want)
		}
		require.Len(n.t, n.sim.History(), sent, "a copy has sent")
	}
	n.askFirst = true
}

func (n *stormNight) generation() []byte {
	b, err := os.ReadFile(n.o.Path + ".marker")
	require.NoError(n.t, err)
	return b
}

// explain tells of every payout that was posted more than once or is open: what
// the store knows, and what reached the gate.
func (n *stormNight) explain() {
	s, end := n.open(newMortal("explain", &n.skew))
	defer end()
	said := map[payout.Key][]string{}
	for _, r := range n.sim.History() {
		said[r.Key] = append(said[r.Key], fmt.Sprintf("  %10.3fs gate: %s, %s", r.At.Sub(n.begun).Seconds(), r.Path, r.Did))
	}
	for _, e := range n.sim.Ledger() {
		r, err := s.Get(context.Background(), e.Key)
		if err != nil || e.Posts < 2 && !r.Open() {
			continue
		}
		n.t.Logf("%+v\n  %+v\n%s", e, r.Payout, strings.Join(said[e.Key], "\n"))
		for _, v := range r.Events {
			n.t.Logf("  %10.3fs %v by %v, attempt %d, tick %v: %s %s %s", v.At.Sub(n.begun).Seconds(), v.Kind, v.Source, v.Attempt, v.Tick.At, v.Status, v.Code, v.Message)
		}
	}
}

// check ends every night.
func (n *stormNight) check() {
	t := n.t
	require.Empty(t, n.holds.faults)
	s, end := n.open(newMortal("report", &n.skew))
	defer end()
	ledger := n.sim.Ledger()
	var inputs [][]byte
	for _, f := range n.files {
		inputs = append(inputs, []byte(f))
	}
	require.Empty(t, gatesim.Unasked(ledger, ';', inputs...), "no one asked for these")
	loaded := 0
	for _, b := range n.batches {
		i := slices.IndexFunc(n.files, func(f string) bool { return fmt.Sprintf("%x", sha256.Sum256([]byte(f))) == b.ID })
		require.GreaterOrEqual(t, i, 0)
		loaded++
		j := judge(t, s, b, n.files[i], ledger)
		n.weather.paid += j.Paid
		n.weather.open += j.Open
	}
	require.Equal(t, len(n.files), loaded)
	storetest.Check(t, s.Store)
	keepsSecrets(t, n.o.Path, n.log.String())
	st := n.sim.Stats()
	n.weather.requests = st.Requests
	for _, struck := range maps.All(st.Faults) {
		n.weather.faults += struck
	}
}
