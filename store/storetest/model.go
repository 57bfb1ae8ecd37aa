package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// model is a store as a plain map: what each call must do.
type model struct {
	t       *testing.T
	w       World
	rng     *rand.Rand
	procs   []store.Store
	payouts map[payout.Key]*payout.Payout // of a cancelled id that came back, the later one
	batches []modelBatch
	early   map[payout.Key][]payout.Event
	now     time.Time
	tick    time.Duration
	owners  map[store.Store]uint64
	loaded  map[*payout.Payout]time.Time // when the batch was, that it is sent from
}

type modelBatch struct {
	store.Batch
	rows []*payout.Payout // in line order
}

// testModel makes random calls by several processes, one after the other, and
// compares what each returns, and in the end everything, with a plain map.
func testModel(t *testing.T, w World, s store.Store) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := &model{
		t: t, w: w, rng: rand.New(rand.NewPCG(seed, 0)),
		procs: []store.Store{s, w.Open(t), w.Open(t)}, payouts: map[payout.Key]*payout.Payout{}, early: map[payout.Key][]payout.Event{},
		now: time.Now().Truncate(time.Microsecond).UTC(), owners: map[store.Store]uint64{}, loaded: map[*payout.Payout]time.Time{},
	}
	for range 600 {
		m.now = m.now.Add(time.Duration(m.rng.IntN(300)) * time.Second)
		m.tick += time.Duration(m.rng.IntN(600)) * time.Second
		switch n := m.rng.IntN(20); {
		case n < 1:
			m.load()
		case n < 6:
			m.claim()
		case n < 7:
			m.die()
		default:
			m.apply()
		}
	}
	m.compare()
}

func (m *model) proc() store.Store { return m.procs[m.rng.IntN(len(m.procs))] }

func (m *model) key() payout.Key {
	return payout.Key{ProjectID: 1234, PaymentID: fmt.Sprintf("m-%02d", m.rng.IntN(60))}
}

// load brings some ids, known ones among them, and now and then one that stands
// twice or has another amount.
func (m *model) load() {
	s := m.proc()
	taken := map[payout.Key]bool{}
	var rows []store.Row
	var want error
	for i := range 1 + m.rng.IntN(20) {
		k := m.key()
		if taken[k] {
			continue
		}
		taken[k] = true
		minor := int64(1_000)
		if p, known := m.payouts[k]; known && !p.FreesID() && m.rng.IntN(40) == 0 {
			minor++
			want = &store.ConflictError{}
		}
		rows = append(rows, Row(k.PaymentID, minor, i+2))
	}
	b := BatchOf(fmt.Sprint("model ", len(m.batches), m.rng.Uint64()), rows)
	l, err := s.Load(m.t.Context(), b, All(rows))
	if want != nil {
		var conflict *store.ConflictError
		require.ErrorAs(m.t, err, &conflict)
		return
	}
	require.NoError(m.t, err)
	made := modelBatch{Batch: l.Batch}
	fresh := 0
	for _, r := range rows {
		if p, known := m.payouts[r.Key]; known && !p.FreesID() {
			made.rows = append(made.rows, p)
			continue
		}
		fresh++
		p := payout.New(r.Key, r.Method, r.Amount)
		m.loaded[&p] = l.Batch.LoadedAt
		for _, e := range m.early[r.Key] {
			p, _ = m.next(&p, e)
		}
		delete(m.early, r.Key)
		m.payouts[r.Key] = &p
		made.rows = append(made.rows, &p)
	}
	require.Equal(m.t, fresh, l.New)
	m.batches = append(m.batches, made)
}

// next is payout.Next after the comparison that a store makes.
func (m *model) next(p *payout.Payout, e payout.Event) (payout.Payout, payout.Effect) {
	if e.Report() {
		row := payout.Row{Customer: "c-" + p.Key.PaymentID, Account: account, Since: m.loaded[p]}
		e.Match, e.Field = payout.MatchPayment(*p, row, e)
	}
	return payout.Next(payout.Rules{}, *p, e)
}

// claim must hand out what is New, in line order.
func (m *model) claim() {
	if len(m.batches) == 0 {
		return
	}
	s, b := m.proc(), m.batches[m.rng.IntN(len(m.batches))]
	n := 1 + m.rng.IntN(5)
	var want []payout.Key
	for _, p := range b.rows {
		if p.State == payout.StateNew && !p.OfAnother() && len(want) < n {
			want = append(want, p.Key)
		}
	}
	got, err := Payouts(s.Claim(m.t.Context(), store.Claim{Batch: b.ID, N: n, Host: host}))
	require.NoError(m.t, err)
	var keys []payout.Key
	for _, c := range got {
		keys = append(keys, c.Key)
		before := *m.payouts[c.Key]
		e := payout.Event{Kind: payout.Claimed, Source: payout.FromRun, At: c.FirstSent, Owner: c.Owner, Batch: b.Number, Host: host}
		after, _ := payout.Next(payout.Rules{}, before, e)
		m.same(after, c.Payout)
		*m.payouts[c.Key] = c.Payout
		m.owners[s] = c.Owner
	}
	require.Equal(m.t, want, keys)
}

// same compares two payouts but for what only the store gives them. Times are
// kept in microseconds.
func (m *model) same(want, got payout.Payout) {
	m.t.Helper()
	for _, p := range []*payout.Payout{&want, &got} {
		p.Number, p.Masked, p.Content, p.Places, p.Events, p.SentBy = 0, "", payout.Digest{}, nil, 0, 0
		p.Dropped = 0
		for _, at := range []*time.Time{&p.EndedAt, &p.NotSeenAt, &p.PollAt, &p.FirstSent, &p.FinalAt, &p.PolledSoonAt, &p.Resolution.At} {
			*at = at.Truncate(time.Microsecond).UTC()
		}
	}
	require.Equal(m.t, want, got)
}

// die ends one process; what it held becomes Unknown, and nothing else changes.
func (m *model) die() {
	i := m.rng.IntN(len(m.procs))
	owner := m.owners[m.procs[i]]
	if owner == 0 || i == 0 { // the first one is looked at in the end
		return
	}
	m.w.Kill(m.t, m.procs[i])
	m.procs[i] = m.w.Open(m.t)
	want := 0
	for _, p := range m.payouts {
		if p.Owner == owner {
			want++
		}
	}
	n, err := m.procs[0].Recover(m.t.Context())
	require.NoError(m.t, err)
	require.Equal(m.t, want, n)
	for k, p := range m.payouts {
		if p.Owner != owner {
			continue
		}
		r, err := m.procs[0].Get(m.t.Context(), k)
		require.NoError(m.t, err)
		last := r.Events[len(r.Events)-1]
		require.Equal(m.t, payout.Orphaned, last.Kind)
		after, _ := payout.Next(payout.Rules{}, *p, last)
		m.same(after, r.Payout)
		*p = r.Payout
	}
}

// apply gives some random events to one process, in one commit.
func (m *model) apply() {
	var events []payout.Event
	for range 1 + m.rng.IntN(4) {
		k := m.key()
		e := payout.Event{
			Key: k, Kind: payout.Kinds[m.rng.IntN(len(payout.Kinds))], Source: payout.FromRun, At: m.now, Tick: payout.Tick{Boot: 1, At: m.tick}, Applied: payout.Tick{Boot: 1, At: m.tick}, Host: host,
			Tries: m.rng.IntN(2), Outcome: payout.State(m.rng.IntN(12)),
		}
		if p := m.payouts[k]; p != nil {
			e.Attempt, e.Owner = max(0, p.Attempt-m.rng.IntN(2)), p.Owner
		}
		switch e.Kind {
		case payout.Claimed, payout.Suspected, payout.Orphaned:
			continue // the store's own
		case payout.Final, payout.Progress, payout.Irrelevant, payout.Unlisted, payout.Lapsed, payout.PollDue:
			e.Source, e.Attempt, e.Tries = payout.FromCallback, 0, 0
			e.Status = []string{"processing", "refunded", "expired", "strange"}[m.rng.IntN(4)]
			m.tell(&e)
		case payout.NotSeen, payout.Silent:
			e.Source, e.Attempt, e.Tries = payout.FromStatus, 0, 0
		case payout.Cancelled, payout.Resolved:
			e.Source, e.Person, e.Reason = payout.FromPerson, "jan@desk", "asked the platform"
			e.Outcome = []payout.State{0, payout.StatePaid, payout.StateDeclined}[m.rng.IntN(3)]
		}
		events = append(events, e)
	}
	got, err := m.proc().Apply(m.t.Context(), events...)
	require.NoError(m.t, err)
	for i, e := range events {
		before, known := m.payouts[e.Key]
		if !known {
			if e.Source == payout.FromCallback && e.Report() {
				require.True(m.t, got[i].Kept)
				if got[i].Effect == payout.Changed {
					m.early[e.Key] = append(m.early[e.Key], e)
				}
			} else {
				require.Equal(m.t, store.Change{Effect: payout.Ignored}, got[i])
			}
			continue
		}
		after, effect := m.next(before, e)
		require.Equal(m.t, effect, got[i].Effect, "%v", e)
		require.Equal(m.t, before.State, got[i].Was)
		m.same(after, got[i].After)
		*before = got[i].After
	}
}

// tell makes a report say whom and what it is about: mostly this payout, at times
// another, at times nothing.
func (m *model) tell(e *payout.Event) {
	one := func(right, wrong string) string {
		return []string{right, right, right, wrong, ""}[m.rng.IntN(5)]
	}
	e.Customer, e.Account = one("c-"+e.Key.PaymentID, "c-other"), one(account, "996555000000")
	if m.rng.IntN(5) > 0 {
		e.Amount = payout.Amount{Minor: 1_000 + int64(m.rng.IntN(8)/7), Currency: "KGS"}
		e.Made = m.now.AddDate(-m.rng.IntN(8)/7, 0, 0)
	}
	if m.rng.IntN(2) == 0 {
		n := fmt.Sprint(m.rng.IntN(3))
		e.OperationID = "op-" + n
		e.Operations = []payout.Operation{{ID: e.OperationID, Provider: "prov-" + n, Made: e.Made, Amount: e.Amount}}
	}
}

// compare holds the whole store against the map.
func (m *model) compare() {
	ctx := context.WithoutCancel(m.t.Context())
	seen := map[payout.Key]payout.Payout{}
	for r, err := range m.procs[0].List(ctx, store.Filter{}) {
		require.NoError(m.t, err)
		seen[r.Key] = r.Payout // of a cancelled id that came back, the later one
	}
	require.Len(m.t, seen, len(m.payouts))
	for k, p := range m.payouts {
		m.same(*p, seen[k])
	}
	for _, b := range m.batches {
		rows := 0
		for l, err := range m.procs[0].Lines(ctx, b.ID) {
			require.NoError(m.t, err)
			m.same(*b.rows[rows], l.Payout)
			rows++
		}
		require.Len(m.t, b.rows, rows)
	}
}

// testHistory lets many goroutines of several processes claim, answer, die and
// interfere at once, and checks the history that they wrote down: each attempt
// of each payout was given to one of them, once, and while one held a payout no
// other got it.
func testHistory(t *testing.T, w World, s store.Store) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const rows = 150
	b := Load(t, s, "history", Rows("history", rows))
	h := &history{holder: map[payout.Key]int{}, attempts: map[attempt]int{}}
	var wg sync.WaitGroup
	for id := 1; id <= 6; id++ {
		rng := rand.New(rand.NewPCG(seed, uint64(id)))
		var mine store.Store
		wg.Go(func() {
			for range 40 {
				if mine == nil {
					mine = w.Open(t)
				}
				h.work(t, w, mine, b, id, rng)
				if rng.IntN(8) == 0 && h.die(t, w, mine, id) {
					mine = nil
				}
			}
		})
	}
	wg.Wait()
	require.Empty(t, h.faults)
	require.Greater(t, len(h.attempts), rows, "some were sent again")
	for r, err := range s.List(t.Context(), store.Filter{}) {
		require.NoError(t, err)
		for n := 1; n <= r.Attempt; n++ {
			require.Equal(t, 1, h.attempts[attempt{r.Key, n}], "%s, attempt %d", r.Key, n)
		}
	}
}

type attempt struct {
	key payout.Key
	n   int
}

// history is written by those who claim. A payout is held from the return of
// Claim until its answer goes to Apply, so that no order of commits makes it
// accuse wrongly.
type history struct {
	mu       sync.Mutex
	holder   map[payout.Key]int
	attempts map[attempt]int
	faults   []string
}

func (h *history) work(t *testing.T, _ World, s store.Store, b store.Batch, id int, rng *rand.Rand) {
	claimed, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1 + rng.IntN(6), Host: host}))
	if err != nil {
		h.fault("claim: %v", err)
		return
	}
	h.mu.Lock()
	for _, c := range claimed {
		if other := h.holder[c.Key]; other != 0 {
			h.faults = append(h.faults, fmt.Sprintf("%s is held by %d and was given to %d", c.Key, other, id))
		}
		h.holder[c.Key] = id
		h.attempts[attempt{c.Key, c.Attempt}]++
	}
	h.mu.Unlock()
	slices.SortFunc(claimed, func(store.Claimed, store.Claimed) int { return rng.IntN(3) - 1 })
	for _, c := range claimed {
		if rng.IntN(10) == 0 {
			continue // still held
		}
		h.mu.Lock()
		delete(h.holder, c.Key)
		h.mu.Unlock()
		kind := []payout.Kind{payout.Released, payout.Unsent, payout.Unsent, payout.Accepted, payout.Doubtful}[rng.IntN(5)]
		late := answer(c, kind)
		late.Attempt -= rng.IntN(2) // some are about an earlier attempt, and do nothing
		if _, err := s.Apply(t.Context(), answer(c, kind), late); err != nil {
			h.fault("apply: %v", err)
		}
	}
	if _, err := s.Recover(t.Context()); err != nil {
		h.fault("recover: %v", err)
	}
}

// die gives up what a process holds, before its lock is free.
func (h *history) die(t *testing.T, w World, s store.Store, id int) bool {
	h.mu.Lock()
	held := false
	for k, other := range h.holder {
		if other == id {
			delete(h.holder, k)
			held = true
		}
	}
	h.mu.Unlock()
	if held {
		w.Kill(t, s)
	}
	return held
}

func (h *history) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err, ok := args[0].(error); ok && errors.Is(err, context.Canceled) {
		return
	}
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}
