// Package storetest is the suite that every store must pass, and the
// benchmarks that all share.
package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// World is what the suite needs of an implementation.
type World interface {
	// Open opens the same store again, as another process would.
	Open(t testing.TB) store.Store
	// Kill ends a store as a dying process would: what it holds is not given
	// back, and nobody holds it any more.
	Kill(t testing.TB, s store.Store)
	// Files are all files that the store writes, to look for what must not be
	// in them.
	Files(t testing.TB) [][]byte
	// Save copies what the store keeps, as a copy of its disk would. put brings the copy
	// back in the store's place, under stores that are open, too.
	Save(t testing.TB) (put func())
	// Busy keeps the store from all others until it is freed.
	Busy(t testing.TB) (free func())
	// OpenFor is Open for one that waits no longer than so for a store that is busy.
	OpenFor(t testing.TB, wait time.Duration) store.Store
	// Damage changes what is kept of a payout behind the store's back; mend undoes it.
	Damage(t testing.TB, key payout.Key) (mend func())
}

const host = "gate.example"

// Rows makes n good rows with ids that begin with prefix.
func Rows(prefix string, n int) []store.Row {
	rows := make([]store.Row, n)
	for i := range rows {
		id := fmt.Sprintf("%s-%06d", prefix, i)
		rows[i] = Row(id, int64(1000+i), i+2)
	}
	return rows
}

const account = "996555123456"

// Row makes one good row.
func Row(id string, minor int64, line int) store.Row {
	key := payout.Key{ProjectID: 1234, PaymentID: id}
	cells := []string{"payout", "1234", "sbp-p2p", id, fmt.Sprint(minor), "KGS", account, "Secretname", "c-" + id}
	return store.Row{
		Line: line, Key: key, Method: "sbp-p2p", Amount: payout.Amount{Minor: minor, Currency: "KGS"}, Masked: "996***56",
		Canonical: []byte(strings.Join(cells, ";")), Cells: cells,
	}
}

// Columns are those of Row.
var Columns = []string{
	"operation_type", "general.project_id", "method", "general.payment_id", "payment.amount", "payment.currency", "account.number", "customer.last_name", "customer.id",
}

// All makes a sequence of rows.
func All(rows []store.Row) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// BatchOf names a batch after its rows.
func BatchOf(name string, rows []store.Row) store.Batch {
	h := sha256.New()
	_, _ = fmt.Fprint(h, name)
	var sum int64
	skipped := 0
	for _, r := range rows {
		if r.Skip != "" {
			skipped++
			continue
		}
		sum += r.Amount.Minor
	}
	return store.Batch{
		ID: hex.EncodeToString(h.Sum(nil)), Name: name, Columns: Columns, Delimiter: ";",
		Skipped: skipped, Totals: []payout.Amount{{Minor: sum, Currency: "KGS"}},
	}
}

// Load loads rows as a batch of their own.
func Load(t testing.TB, s store.Store, name string, rows []store.Row) store.Batch {
	t.Helper()
	l, err := s.Load(t.Context(), BatchOf(name, rows), All(rows))
	require.NoError(t, err)
	return l.Batch
}

// Claim claims up to n payouts.
func Claim(t testing.TB, s store.Store, b store.Batch, n int) []store.Claimed {
	t.Helper()
	c, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: n, Host: host}))
	require.NoError(t, err)
	return c
}

// Payouts are those of claims.
func Payouts(c store.Claims, err error) ([]store.Claimed, error) { return c.Payouts, err }

// Apply applies one event and returns its change.
func Apply(t testing.TB, s store.Store, e payout.Event) store.Change {
	t.Helper()
	c, err := s.Apply(t.Context(), e)
	require.NoError(t, err)
	require.Len(t, c, 1)
	return c[0]
}

func answer(c store.Claimed, kind payout.Kind) payout.Event {
	return payout.Event{Key: c.Key, Kind: kind, Source: payout.FromRun, Attempt: c.Attempt, Tries: 1, Host: host, At: time.Now(), Reported: payout.Reported{RequestID: "r-" + c.Key.PaymentID}}
}

func verdict(key payout.Key, outcome payout.State) payout.Event {
	return payout.Event{
		Key: key, Kind: payout.Verdict, Source: payout.FromCallback, At: time.Now(), Outcome: outcome,
		Reported: payout.Reported{Status: "success", Code: "0", Message: "Success", OperationID: "1234567890123456", ProviderPaymentID: "prov-000123"},
	}
}

// proven is an outcome that shows whose payment it is about.
func proven(row store.Row, outcome payout.State) payout.Event {
	e := verdict(row.Key, outcome)
	e.Customer, e.Amount, e.Made = "c-"+row.Key.PaymentID, row.Amount, time.Now().Truncate(time.Microsecond).UTC()
	return e
}

func collect[T any](t testing.TB, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var out []T
	for v, err := range seq {
		require.NoError(t, err)
		out = append(out, v)
	}
	return out
}

// Check is what holds after every test: the store finds nothing wrong with
// itself, and what it says of its batches is what counting gives.
func Check(t testing.TB, s store.Store) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	e, err := s.Examine(ctx)
	require.NoError(t, err)
	require.Empty(t, e.Wrong)
	for _, b := range collect(t, s.Batches(ctx)) {
		type group struct {
			state    payout.State
			currency string
		}
		counted := map[group]store.Count{}
		lines, skipped := 0, 0
		for l, err := range s.Lines(ctx, b.ID) {
			require.NoError(t, err)
			require.Equal(t, lines, l.Index)
			lines++
			if l.Skip != "" {
				skipped++
				continue
			}
			g := group{l.Payout.State, l.Payout.Amount.Currency}
			c := counted[g]
			c.State = g.state
			c.N++
			c.Amount.Currency = g.currency
			c.Amount.Minor += l.Payout.Amount.Minor
			if l.Payout.NeedsCheck() {
				c.Check++
				c.Minor += l.Payout.Amount.Minor
			}
			if l.Payout.Stuck() {
				c.Stuck++
			}
			counted[g] = c
		}
		require.Equal(t, b.Rows, lines, "rows of batch %s", b.Name)
		require.Equal(t, b.Skipped, skipped)
		require.Len(t, b.Counts, len(counted), "counts of batch %s: %v", b.Name, b.Counts)
		for _, c := range b.Counts {
			require.Equal(t, counted[group{c.State, c.Amount.Currency}], c, "counts of batch %s", b.Name)
		}
	}
}

// Run runs the suite. fresh makes a new, empty store.
func Run(t *testing.T, fresh func(t testing.TB) World) {
	tests := []struct {
		name string
		test func(t *testing.T, w World, s store.Store)
	}{
		{"a number is only a hint", testNumberIsAHint},
		{"a gate is proven once", testProven},
		{"a payout stays with its gate", testGateOfAPayout},
		{"a report of another payment", testReportOfAnother},
		{"a cancelled id that another has", testCancelledOfAnother},
		{"a history names its hosts", testHistoryOfHosts},
		{"load is all or nothing", testLoadAllOrNothing},
		{"load knows ids for ever", testLoadKnows},
		{"load refuses other content", testLoadConflict},
		{"the same batch loads once", testLoadTwice},
		{"load refuses an id that stands twice", testLoadDoubled},
		{"a load under way does not count", testLoadUnderWay},
		{"skipped rows are kept", testSkipped},
		{"claim goes in line order and once", testClaim},
		{"claim leaves out what it is told", testClaimSkip},
		{"two claimers share a batch", testClaimConcurrent},
		{"what became free is claimed again", testFreed},
		{"a payout of two batches is sent once", testTwoBatches},
		{"the dead give up what they held", testRecover},
		{"the living keep what they hold", testRecoverLiving},
		{"early callbacks wait for a load", testEarly},
		{"a cancelled id starts anew", testCancelled},
		{"a cancelled id that comes to life during a load", testCancelledComesToLife},
		{"due payouts come in order, to one asker", testDue},
		{"askers share what is due", testDueConcurrent},
		{"a held batch is not claimed", testHold},
		{"the store's clock", testTick},
		{"a restored copy asks first", testRestored},
		{"a person says that it is a copy", testAskFirst},
		{"a backup", testBackup},
		{"a store that is busy", testBusy},
		{"a store that is damaged", testDamage},
		{"one rate for all processes", testLimiter},
		{"hosts of open payouts", testHosts},
		{"batches by prefix", testBatchPrefix},
		{"runs are recorded", testRuns},
		{"a retry waits for what it repeats", testRetries},
		{"what the gate writes is masked", testMasked},
		{"rows are sealed", testSealed},
		{"many appliers agree", testApplyConcurrent},
		{"lookups", testLookup},
		{"row of a payout", testRow},
		{"random calls against a plain map", testModel},
		{"one holder at a time", testHistory},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := fresh(t)
			s := w.Open(t)
			t.Cleanup(func() {
				if !t.Failed() {
					Check(t, s)
				}
			})
			tt.test(t, w, s)
		})
	}
}

func testLoadAllOrNothing(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 25_000)
	broken := errors.New("the file changed")
	_, err := s.Load(t.Context(), BatchOf("a", rows), func(yield func(store.Row, error) bool) {
		for _, r := range rows[:24_000] {
			if !yield(r, nil) {
				return
			}
		}
		yield(store.Row{}, broken)
	})
	require.ErrorIs(t, err, broken)
	require.Empty(t, collect(t, s.Batches(t.Context())))
	require.Empty(t, collect(t, s.List(t.Context(), store.Filter{})))
	_, err = s.Get(t.Context(), rows[0].Key)
	require.ErrorIs(t, err, store.ErrUnknown)
	b := Load(t, s, "a", rows)
	require.Equal(t, 25_000, b.Rows)
	lines := collect(t, s.Lines(t.Context(), b.ID))
	for i, l := range lines {
		require.Equal(t, rows[i].Cells, l.Cells)
		require.Equal(t, rows[i].Key, l.Payout.Key)
		require.Equal(t, rows[i].Line, l.Line)
	}
}

func testLoadKnows(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 10)
	Load(t, s, "monday", rows)
	more := append(slices.Clone(rows), Rows("b", 5)...)
	l, err := s.Load(t.Context(), BatchOf("tuesday", more), All(more))
	require.NoError(t, err)
	require.Equal(t, 5, l.New)
	require.Equal(t, 10, l.Known)
	require.Len(t, collect(t, s.List(t.Context(), store.Filter{})), 15)
	for i, line := range collect(t, s.Lines(t.Context(), l.Batch.ID)) {
		require.Equal(t, more[i].Cells, line.Cells)
	}
}

func testLoadConflict(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	Load(t, s, "monday", rows)
	other := []store.Row{Row("new", 5, 2), Row(rows[1].Key.PaymentID, 99, 3)}
	_, err := s.Load(t.Context(), BatchOf("tuesday", other), All(other))
	var conflict *store.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.EqualValues(t, 99, conflict.Row.Amount.Minor)
	require.EqualValues(t, 1001, conflict.Known.Amount.Minor)
	require.Len(t, collect(t, s.Batches(t.Context())), 1)
	_, err = s.Get(t.Context(), other[0].Key)
	require.ErrorIs(t, err, store.ErrUnknown)
	again := append(slices.Clone(rows), Row(rows[1].Key.PaymentID, 99, 9))
	_, err = s.Load(t.Context(), BatchOf("wednesday", again), All(again))
	require.ErrorAs(t, err, &conflict)
	for _, r := range collect(t, s.List(t.Context(), store.Filter{})) {
		require.Len(t, r.Places, 1, "an undone load leaves no place behind")
	}
}

func testLoadTwice(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	Load(t, s, "a", rows)
	_, err := s.Load(t.Context(), BatchOf("a", rows), All(rows))
	require.ErrorIs(t, err, store.ErrLoaded)
}

func testLoadDoubled(t *testing.T, _ World, s store.Store) {
	rows := append(Rows("a", 12_000), Row("a-000003", 1003, 12_002))
	_, err := s.Load(t.Context(), BatchOf("a", rows), All(rows))
	require.ErrorIs(t, err, store.ErrDoubled)
	require.Empty(t, collect(t, s.List(t.Context(), store.Filter{})))
}

func testLoadUnderWay(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 20_001)
	other := w.Open(t)
	looked := false
	_, err := s.Load(t.Context(), BatchOf("a", rows), func(yield func(store.Row, error) bool) {
		for i, r := range rows {
			if i == 20_000 { // two commits are behind
				_, err := other.Get(t.Context(), rows[0].Key)
				require.ErrorIs(t, err, store.ErrUnknown)
				require.Empty(t, collect(t, other.List(t.Context(), store.Filter{})))
				require.Empty(t, collect(t, other.Batches(t.Context())))
				c := Apply(t, other, proven(rows[5], payout.StatePaid))
				require.True(t, c.Kept, "a callback waits until the load is whole")
				looked = true
			}
			if !yield(r, nil) {
				return
			}
		}
	})
	require.NoError(t, err)
	require.True(t, looked)
	r, err := s.Get(t.Context(), rows[5].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StatePaid, r.State)
}

func testSkipped(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	rows[1] = store.Row{Line: 3, Cells: []string{"payout", "", "", "", "", "", "", "", ""}, Skip: "it is empty"}
	b := Load(t, s, "a", rows)
	lines := collect(t, s.Lines(t.Context(), b.ID))
	require.Equal(t, "it is empty", lines[1].Skip)
	require.Equal(t, rows[1].Cells, lines[1].Cells)
	require.Len(t, Claim(t, s, b, 10), 2)
}

func testClaim(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 10)
	b := Load(t, s, "a", rows)
	first := Claim(t, s, b, 4)
	second := Claim(t, w.Open(t), b, 4)
	third := Claim(t, s, b, 4)
	require.Empty(t, Claim(t, s, b, 4))
	all := slices.Concat(first, second, third)
	require.Len(t, all, 10)
	for i, c := range all {
		require.Equal(t, rows[i].Key, c.Key)
		require.Equal(t, rows[i].Cells, c.Cells)
		require.Equal(t, Columns, c.Columns)
		require.Equal(t, payout.StateSending, c.State)
		require.Equal(t, 1, c.Attempt)
	}
	require.NotEqual(t, first[0].Owner, second[0].Owner)
}

func testClaimSkip(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 6)
	b := Load(t, s, "a", rows)
	skip := []payout.Key{rows[0].Key, rows[2].Key}
	for range 2 {
		c, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: host, Skip: skip}))
		require.NoError(t, err)
		require.Len(t, c, 2)
	}
	c := Claim(t, s, b, 10)
	require.Len(t, c, 2, "what was left out is still there")
	require.Equal(t, rows[0].Key, c[0].Key)
}

func testClaimConcurrent(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 400))
	var mu sync.Mutex
	held := map[payout.Key]int{}
	var wg sync.WaitGroup
	for range 4 {
		mine := w.Open(t)
		wg.Go(func() {
			for {
				c, err := Payouts(mine.Claim(t.Context(), store.Claim{Batch: b.ID, N: 7, Host: host}))
				if err != nil || len(c) == 0 {
					return
				}
				mu.Lock()
				for _, p := range c {
					held[p.Key]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, held, 400)
	for k, n := range held {
		require.Equal(t, 1, n, k)
	}
}

func testFreed(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 5))
	c := Claim(t, s, b, 5)
	Apply(t, s, answer(c[3], payout.Released))
	Apply(t, s, answer(c[1], payout.Unsent))
	again := Claim(t, s, b, 5)
	require.Len(t, again, 2)
	require.Equal(t, c[1].Key, again[0].Key)
	require.Equal(t, 2, again[0].Attempt)
	require.Equal(t, c[3].Key, again[1].Key)
	late := Apply(t, s, answer(c[1], payout.Unsent)) // of attempt 1
	require.Equal(t, payout.Ignored, late.Effect)
	require.Empty(t, Claim(t, s, b, 5))
}

func testTwoBatches(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 4)
	monday := Load(t, s, "monday", rows)
	tuesday := Load(t, s, "tuesday", append(slices.Clone(rows), Row("extra", 7, 6)))
	c := Claim(t, s, monday, 2)
	require.Len(t, Claim(t, s, tuesday, 10), 3, "the rest and the new one")
	require.Empty(t, Claim(t, s, monday, 10))
	Apply(t, s, answer(c[0], payout.Released))
	freed := Claim(t, s, tuesday, 10)
	require.Len(t, freed, 1, "freed for every batch that it stands in")
	require.Equal(t, tuesday.Number, freed[0].SentBy)
	require.Equal(t, c[0].Key, freed[0].Key)
	require.Empty(t, Claim(t, s, monday, 10))
	Apply(t, s, verdict(c[1].Key, payout.StatePaid))
	for _, id := range []string{monday.ID, tuesday.ID} {
		b, err := s.Batch(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, 1, b.InState(payout.StatePaid))
	}
}

func testRecover(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 5))
	dying := w.Open(t)
	require.Len(t, Claim(t, dying, b, 3), 3)
	w.Kill(t, dying)
	n, err := s.Recover(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Len(t, Claim(t, s, b, 10), 2, "what the dead held may have been sent")
	for _, r := range collect(t, s.List(t.Context(), store.Filter{States: []payout.State{payout.StateUnknown}, Events: true})) {
		require.Equal(t, payout.Orphaned, r.Events[len(r.Events)-1].Kind)
		require.False(t, r.AskAt.IsZero())
	}
	n, err = s.Recover(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func testRecoverLiving(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 5))
	living := w.Open(t)
	require.Len(t, Claim(t, living, b, 3), 3)
	require.Len(t, Claim(t, s, b, 1), 1)
	n, err := s.Recover(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func testEarly(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 2)
	report := proven(rows[1], payout.StatePaid)
	c := Apply(t, s, report)
	require.True(t, c.Kept)
	require.Equal(t, payout.Changed, c.Effect)
	report.At = report.At.Add(time.Minute)
	c = Apply(t, s, report)
	require.True(t, c.Kept)
	require.Equal(t, payout.Ignored, c.Effect, "a repeat is kept once")
	c = Apply(t, s, payout.Event{Key: rows[0].Key, Kind: payout.Irrelevant, Source: payout.FromCallback, At: time.Now()})
	require.False(t, c.Kept, "a purchase of that id is nobody's payout")
	c = Apply(t, s, payout.Event{Key: rows[0].Key, Kind: payout.Silent, Source: payout.FromStatus, At: time.Now()})
	require.False(t, c.Kept, "only the gate's word waits")
	l, err := s.Load(t.Context(), BatchOf("a", rows), All(rows))
	require.NoError(t, err)
	require.Equal(t, 1, l.Early)
	claimed := Claim(t, s, l.Batch, 10)
	require.Len(t, claimed, 1)
	require.Equal(t, rows[0].Key, claimed[0].Key, "what the gate has paid is not sent")
	r, err := s.Get(t.Context(), rows[1].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StatePaid, r.State)
	require.NotZero(t, r.Flags&payout.Restored)
}

func testCancelled(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	b := Load(t, s, "monday", rows)
	sent := Claim(t, s, b, 1)
	Apply(t, s, answer(sent[0], payout.Accepted))
	for _, r := range rows {
		Apply(t, s, payout.Event{Key: r.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
	}
	require.Empty(t, Claim(t, s, b, 10))
	changed := []store.Row{Row(rows[1].Key.PaymentID, 5, 2)}
	broken := errors.New("broken")
	_, err := s.Load(t.Context(), BatchOf("broken", changed), func(yield func(store.Row, error) bool) {
		if yield(changed[0], nil) {
			yield(store.Row{}, broken)
		}
	})
	require.ErrorIs(t, err, broken)
	r, err := s.Get(t.Context(), rows[1].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StateCancelled, r.State, "an undone load brings nothing back")
	tuesday := Load(t, s, "tuesday", changed)
	c := Claim(t, s, tuesday, 10)
	require.Len(t, c, 1)
	require.EqualValues(t, 5, c[0].Amount.Minor)
	lines := collect(t, s.Lines(t.Context(), b.ID))
	require.Equal(t, payout.StateCancelled, lines[1].Payout.State, "the old batch's report stays")
	require.Equal(t, payout.StateAccepted, lines[0].Payout.State)
}

func testCancelledComesToLife(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 1)
	Load(t, s, "monday", rows)
	Apply(t, s, payout.Event{Key: rows[0].Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
	changed := append([]store.Row{Row(rows[0].Key.PaymentID, 5, 2)}, Rows("b", 10_000)...)
	other := w.Open(t)
	_, err := s.Load(t.Context(), BatchOf("tuesday", changed), func(yield func(store.Row, error) bool) {
		for i, r := range changed {
			if i == 10_000 {
				Apply(t, other, proven(rows[0], payout.StatePaid)) // it was paid by other means
			}
			if !yield(r, nil) {
				return
			}
		}
	})
	var conflict *store.ConflictError
	require.ErrorAs(t, err, &conflict)
	r, err := s.Get(t.Context(), rows[0].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StatePaid, r.State)
}

// What is due is handed out in order, to one asker at a time.
func testDue(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 5))
	c := Claim(t, s, b, 5)
	now := time.Now()
	for i, minutes := range []int{3, 1, 2, -60} {
		e := answer(c[i], payout.Accepted)
		e.At = now.Add(time.Duration(minutes-60) * time.Minute)
		Apply(t, s, e)
	}
	e := answer(c[4], payout.Accepted)
	e.At = now.Add(time.Minute) // not due yet
	Apply(t, s, e)
	Apply(t, s, verdict(c[3].Key, payout.StatePaid))
	at, err := s.NextDue(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, now.Add(-59*time.Minute), at, time.Minute)

	ask := store.Due{Batch: b.ID, Gate: host, N: 2, Lease: time.Minute}
	due, err := s.Due(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, due, 2)
	require.Equal(t, []payout.Key{c[1].Key, c[2].Key}, []payout.Key{due[0].Key, due[1].Key}, "the longest due first")
	other := w.Open(t)
	due, err = other.Due(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, due, 1, "what another one polls is due for nobody else")
	require.Equal(t, c[0].Key, due[0].Key)
	due, err = s.Due(t.Context(), ask)
	require.NoError(t, err)
	require.Empty(t, due)
	for _, p := range c[:3] {
		r, err := s.Get(t.Context(), p.Key)
		require.NoError(t, err)
		require.Equal(t, payout.StateAccepted, r.State)
		require.Len(t, r.Events, 2, "bookkeeping is no event")
	}
	elsewhere, err := s.Due(t.Context(), store.Due{Gate: "https://other.example", N: 9, Lease: time.Minute})
	require.NoError(t, err)
	require.Empty(t, elsewhere)
}

// Two askers at once get no payout twice, and all of them together.
func testDueConcurrent(t *testing.T, w World, s store.Store) {
	const n = 300
	b := Load(t, s, "a", Rows("a", n))
	for _, c := range Claim(t, s, b, n) {
		e := answer(c, payout.Accepted)
		e.At = time.Now().Add(-time.Hour)
		Apply(t, s, e)
	}
	var mu sync.Mutex
	polled := map[payout.Key]int{}
	var wg sync.WaitGroup
	for range 4 {
		mine := w.Open(t)
		wg.Go(func() {
			for {
				due, err := mine.Due(t.Context(), store.Due{Gate: host, N: 7, Lease: time.Minute})
				if err != nil || len(due) == 0 {
					return
				}
				mu.Lock()
				for _, r := range due {
					polled[r.Key]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, polled, n)
	for k, times := range polled {
		require.Equal(t, 1, times, k)
	}
}

// A held batch is claimed by nobody, and what a person holds only a person lets go.
func testHold(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 4))
	free := Load(t, s, "b", Rows("b", 1))
	at := time.Now().Truncate(time.Second).UTC()
	hold := store.Hold{Kind: store.HeldByRun, Reason: "no money", By: "anna@desk", At: at}
	require.NoError(t, s.Hold(t.Context(), b.ID, hold))
	other := w.Open(t)
	for _, mine := range []store.Store{s, other} {
		_, err := mine.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: host})
		var held *store.HeldError
		require.ErrorAs(t, err, &held)
		require.Equal(t, hold, held.Hold)
	}
	is, err := other.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, &hold, is.Held)
	require.Equal(t, 4, is.Unsent(), "nothing was claimed")
	require.Len(t, Claim(t, other, free, 2), 1, "another batch goes on")

	person := store.Hold{Kind: store.HeldByPerson, Reason: "wrong month", By: "boss@desk", At: at}
	require.NoError(t, other.Hold(t.Context(), b.ID, person))
	require.NoError(t, s.Hold(t.Context(), b.ID, hold))
	lifted, err := s.LetGo(t.Context(), b.ID, store.HeldByRun)
	require.NoError(t, err)
	require.False(t, lifted)
	is, err = s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, &person, is.Held)
	lifted, err = other.LetGo(t.Context(), b.ID, store.HeldByPerson, store.HeldByCanary)
	require.NoError(t, err)
	require.True(t, lifted)
	require.Len(t, Claim(t, s, b, 9), 4)
	require.ErrorIs(t, s.Hold(t.Context(), strings.Repeat("0", 64), hold), store.ErrNoBatch)
	_, err = s.LetGo(t.Context(), strings.Repeat("0", 64), store.HeldByRun)
	require.ErrorIs(t, err, store.ErrNoBatch)
}

// The store's clock does not go backwards, and no faster than real time.
func testTick(t *testing.T, w World, s store.Store) {
	begun := time.Now()
	first := s.Tick()
	require.NotZero(t, first.Boot)
	other := w.Open(t)
	last := first
	for range 1000 {
		for _, mine := range []store.Store{s, other} {
			now := mine.Tick()
			d, ok := now.Since(last)
			require.True(t, ok, "moments of one store can be compared")
			require.GreaterOrEqual(t, d, time.Duration(0))
			last = now
		}
	}
	d, _ := last.Since(first)
	require.LessOrEqual(t, d, time.Since(begun)+time.Millisecond)
}

func testHosts(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 2))
	gates, err := s.OpenGates(t.Context())
	require.NoError(t, err)
	require.Empty(t, gates)
	c := Claim(t, s, b, 1)
	gates, _ = s.OpenGates(t.Context())
	require.Equal(t, map[string]int{host: 1}, gates)
	Apply(t, s, answer(c[0], payout.Accepted))
	Apply(t, s, verdict(c[0].Key, payout.StateDeclined))
	gates, _ = s.OpenGates(t.Context())
	require.Empty(t, gates)
}

// A gate is proven once, for all processes and for ever.
func testProven(t *testing.T, w World, s store.Store) {
	proven, err := s.Proven(t.Context(), "https://gate.example")
	require.NoError(t, err)
	require.False(t, proven)
	for range 2 {
		require.NoError(t, s.Prove(t.Context(), "https://gate.example"))
	}
	other := w.Open(t)
	proven, err = other.Proven(t.Context(), "https://gate.example")
	require.NoError(t, err)
	require.True(t, proven)
	proven, err = other.Proven(t.Context(), "https://gate.example/v3")
	require.NoError(t, err)
	require.False(t, proven, "another path is another gate")
	release, err := s.Probe(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = other.Probe(ctx)
	require.ErrorIs(t, err, context.Canceled, "one at a time")
	require.NoError(t, release())
	release, err = other.Probe(t.Context())
	require.NoError(t, err)
	require.NoError(t, release())
}

// What may be a payment at one gate is never claimed for another; what was surely
// turned away there is.
func testGateOfAPayout(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 3))
	c := Claim(t, s, b, 2)
	Apply(t, s, answer(c[0], payout.Doubtful))
	Apply(t, s, answer(c[1], payout.Unsent))
	for _, after := range []time.Duration{time.Minute, 20 * time.Minute, 40 * time.Minute} {
		tick := payout.Tick{Boot: 1, At: after}
		Apply(t, s, payout.Event{Key: c[0].Key, Kind: payout.NotSeen, Source: payout.FromStatus, Host: host, At: time.Now().Add(after), Tick: tick, Applied: tick})
	}
	r, err := s.Get(t.Context(), c[0].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StateNew, r.State)
	gates, err := s.OpenGates(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int{host: 1}, gates)
	elsewhere, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 9, Host: "https://other.example"}))
	require.NoError(t, err)
	require.Len(t, elsewhere, 2)
	require.NotContains(t, []payout.Key{elsewhere[0].Key, elsewhere[1].Key}, c[0].Key)
	require.Len(t, collect(t, s.List(t.Context(), store.Filter{Batch: b.ID, Gate: "https://other.example", Others: true})), 1)
	require.Len(t, collect(t, s.List(t.Context(), store.Filter{Batch: b.ID, Gate: "https://" + host})), 1)
	here, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 9, Host: "https://" + host}))
	require.NoError(t, err)
	require.Len(t, here, 1, "an identity of an older masspay equals any with its host and port")
	require.Equal(t, c[0].Key, here[0].Key)
}

// What the gate reports about another payment of the id keeps the row from being sent
// and makes it no one's.
func testReportOfAnother(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	early := proven(rows[2], payout.StatePaid)
	early.Customer = "c-other"
	require.True(t, Apply(t, s, early).Kept)
	b := Load(t, s, "a", rows)
	loaded := proven(rows[0], payout.StateDeclined)
	loaded.Made = loaded.Made.AddDate(-1, 0, 0)
	change := Apply(t, s, loaded)
	require.Equal(t, payout.StateNew, change.After.State)
	require.Equal(t, payout.FieldDate, change.After.Field)
	claimed := Claim(t, s, b, 9)
	require.Len(t, claimed, 1)
	require.Equal(t, rows[1].Key, claimed[0].Key)
	for _, i := range []int{0, 2} {
		r, err := s.Get(t.Context(), rows[i].Key)
		require.NoError(t, err)
		require.Equal(t, payout.StateNew, r.State)
		require.True(t, r.NeedsCheck())
		require.Zero(t, r.Attempt)
	}
	got, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Zero(t, got.Unsent(), "neither waits to be sent")
	require.Equal(t, payout.StateDeclined, Apply(t, s, payout.Event{
		Key: rows[0].Key, Kind: payout.Resolved, Source: payout.FromPerson, Outcome: payout.StateDeclined, At: time.Now(), Person: "jan@desk", Reason: "last year's",
	}).After.State)
}

// An id that was cancelled is not free where the gate has another's payment of it.
func testCancelledOfAnother(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 2)
	Load(t, s, "monday", rows)
	for _, r := range rows {
		Apply(t, s, payout.Event{Key: r.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: time.Now()})
	}
	other := proven(rows[0], payout.StatePaid)
	other.Customer = "c-other"
	require.Equal(t, payout.StateCancelled, Apply(t, s, other).After.State)
	again := append(Rows("a", 2), Rows("b", 1)...)
	l, err := s.Load(t.Context(), BatchOf("tuesday", again), All(again))
	require.NoError(t, err)
	require.Equal(t, 2, l.New)
	require.Equal(t, 1, l.Known)
	for _, c := range Claim(t, s, l.Batch, 9) {
		require.NotEqual(t, rows[0].Key, c.Key)
	}
	first, second := rows[0].Key, rows[1].Key
	found, err := s.Lookup(t.Context(), []payout.Key{first, second})
	require.NoError(t, err)
	require.True(t, found[first].OfAnother())
	require.NotEqual(t, payout.StateCancelled, found[second].State)
}

func testBatchPrefix(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 1))
	for _, n := range []int{4, 5, 12, 64} {
		got, err := s.Batch(t.Context(), b.ID[:n])
		require.NoError(t, err)
		require.Equal(t, b.ID, got.ID)
	}
	for _, id := range []string{"", "abc", "zzzz", b.ID + "0", strings.Repeat("0", 64)} {
		_, err := s.Batch(t.Context(), id)
		require.ErrorIs(t, err, store.ErrNoBatch, id)
	}
}

func testRetries(t *testing.T, _ World, s store.Store) {
	first := Row("x", 1000, 2)
	a := Load(t, s, "a", []store.Row{first})
	bar := func(row store.Row) uint64 {
		bar, err := s.RetryBar(t.Context(), row.Key, row.Amount, payout.Payee(Columns, row.Cells))
		require.NoError(t, err)
		if !bar.Same {
			return 0
		}
		return bar.By.Number
	}
	again := Row("x-r2", 1000, 2)
	require.NotZero(t, bar(again), "it is still to be sent")
	_, err := s.Load(t.Context(), BatchOf("r2", []store.Row{again}), All([]store.Row{again}))
	var retry *store.RetryError
	require.ErrorAs(t, err, &retry)
	require.Equal(t, first.Key, retry.By.Key)
	require.Zero(t, bar(Row("x-r2", 999, 2)), "another amount")
	other := Row("x-r2", 1000, 2)
	other.Cells[6] = "996555000000"
	require.Zero(t, bar(other), "another payee")
	require.Zero(t, bar(Row("y-r2", 1000, 2)), "nothing is known of y")

	// Declined: it may be paid again. While that waits, the gate says that it was paid.
	c := Claim(t, s, a, 1)
	Apply(t, s, answer(c[0], payout.Accepted))
	verdict := func(key payout.Key, outcome payout.State, status string) {
		Apply(t, s, payout.Event{
			Key: key, Kind: payout.Verdict, Source: payout.FromCallback, At: time.Now(), Outcome: outcome, Reported: payout.Reported{Status: status}, Customer: "c-x", Account: account,
		})
	}
	verdict(first.Key, payout.StateDeclined, "decline")
	require.Zero(t, bar(again))
	b := Load(t, s, "r2", []store.Row{again})
	verdict(first.Key, payout.StatePaid, "success")
	var barred []payout.Key
	claim := func() []store.Claimed {
		got, err := s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 10, Host: host})
		require.NoError(t, err)
		for _, retry := range got.Barred {
			require.Equal(t, first.Key, retry.By.Key)
			barred = append(barred, retry.Key)
		}
		return got.Payouts
	}
	require.Empty(t, claim())
	require.Equal(t, []payout.Key{again.Key}, barred)
	rec, err := s.Get(t.Context(), again.Key)
	require.NoError(t, err)
	require.Equal(t, payout.StateNew, rec.State)
	require.Zero(t, rec.Tries)

	// A person who has found it unpaid frees it; one who has only seen it would not.
	Apply(t, s, payout.Event{Key: first.Key, Kind: payout.Resolved, Source: payout.FromPerson, At: time.Now(), Outcome: payout.StateDeclined, Person: "p", Reason: "r"})
	require.Len(t, claim(), 1)
	// The next retry waits for the one before it.
	third := Row("x-r3", 1000, 2)
	require.NotZero(t, bar(third))
	_, err = s.Load(t.Context(), BatchOf("r3", []store.Row{third}), All([]store.Row{third}))
	require.ErrorAs(t, err, &retry)
	require.Equal(t, again.Key, retry.By.Key)

	// It looks at every payout of the row, whichever was there first: a later retry bars
	// an earlier one, and the first id, which comes anew after it was cancelled.
	z, z3 := Row("z", 7, 2), Row("z-r3", 7, 2)
	Load(t, s, "z3", []store.Row{z3})
	for _, id := range []string{"z", "z-r2", "z-r2-r2", "z-r4"} {
		require.NotZero(t, bar(Row(id, 7, 2)), id)
	}
	_, err = s.Load(t.Context(), BatchOf("z", []store.Row{z}), All([]store.Row{z}))
	require.ErrorAs(t, err, &retry)
	require.Equal(t, z3.Key, retry.By.Key)
	// Of two that wait, in one file, one goes, whichever order they come in.
	for _, ids := range [][]string{{"v", "v-r2"}, {"w-r2", "w"}} {
		both := Load(t, s, ids[0], []store.Row{Row(ids[0], 8, 2), Row(ids[1], 8, 3)})
		got, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: both.ID, N: 10, Host: host}))
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, ids[0], got[0].Key.PaymentID)
		again, err := Payouts(s.Claim(t.Context(), store.Claim{Batch: both.ID, N: 10, Host: host}))
		require.NoError(t, err)
		require.Empty(t, again)
	}
	families, err := s.Families(t.Context())
	require.NoError(t, err)
	for _, key := range []payout.Key{first.Key, z.Key, Row("v", 8, 2).Key, Row("w", 8, 2).Key} {
		require.True(t, families(key), key)
	}
	require.False(t, families(again.Key))
	family, err := s.Family(t.Context(), again.Key)
	require.NoError(t, err)
	require.Equal(t, []payout.Key{first.Key, again.Key}, []payout.Key{family[0].Key, family[1].Key})
}

func testMasked(t *testing.T, w World, s store.Store) {
	text := "no money for SECRETNAME, account " + account
	b := Load(t, s, "a", Rows("a", 2))
	c := Claim(t, s, b, 2)
	Apply(t, s, answer(c[0], payout.Accepted))
	early := Row("early", 7, 2)
	for _, e := range []payout.Event{
		{Key: c[0].Key, Kind: payout.Verdict, Source: payout.FromStatus, Outcome: payout.StateDeclined, Reported: payout.Reported{Status: "decline"}},
		{Key: c[1].Key, Kind: payout.Refused, Source: payout.FromRun, Attempt: 1, Tries: 1},
		{Key: early.Key, Kind: payout.Verdict, Source: payout.FromCallback, Outcome: payout.StateDeclined, Reported: payout.Reported{Status: "decline"}, Customer: "c-early", Account: account},
	} {
		e.At, e.Message = time.Now(), text
		Apply(t, s, e)
	}
	clear := func() {
		for _, file := range w.Files(t) {
			require.NotContains(t, strings.ToLower(string(file)), "secretname")
			require.NotContains(t, string(file), account)
		}
	}
	clear()
	Load(t, s, "early", []store.Row{early})
	clear()
	for _, key := range []payout.Key{c[0].Key, c[1].Key, early.Key} {
		rec, err := s.Get(t.Context(), key)
		require.NoError(t, err)
		last := rec.Events[len(rec.Events)-1]
		require.Equal(t, "no money for SEC***ME, account 996***56", last.Message, key)
		if last.Match.Ours() || last.Source == payout.FromRun {
			require.Equal(t, last.Message, rec.Reported.Message)
		}
	}
}

func testRuns(t *testing.T, _ World, s store.Store) {
	r := store.Run{Command: "run", User: "u", Host: "h", PID: 7, Version: "v", Config: "c", File: "f", Batch: "b", At: time.Now().UTC().Truncate(time.Second)}
	n, err := s.Record(t.Context(), r)
	require.NoError(t, err)
	r.Number = n
	require.Equal(t, []store.Run{r}, collect(t, s.Runs(t.Context())), "it has not ended")
	b := Load(t, s, "a", Rows("a", 1))
	c := Claim(t, s, b, 1)
	end := store.RunEnd{At: r.At.Add(time.Minute), ExitCode: 4, Sent: 1, Error: "e"}
	require.NoError(t, s.EndRun(t.Context(), n, end))
	next, err := s.Record(t.Context(), store.Run{Command: "status", At: r.At})
	require.NoError(t, err)
	require.Greater(t, next, n)
	Apply(t, s, answer(c[0], payout.Accepted))
	r.End = &end
	require.Equal(t, []store.Run{r, {Command: "status", At: r.At, Number: next}}, collect(t, s.Runs(t.Context())))
	rec, err := s.Get(t.Context(), c[0].Key)
	require.NoError(t, err)
	require.Equal(t, []uint64{n, next}, []uint64{rec.Events[0].Run, rec.Events[1].Run})
}

func testSealed(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 50))
	c := Claim(t, s, b, 50)
	Apply(t, s, answer(c[0], payout.Accepted))
	for _, file := range w.Files(t) {
		require.NotContains(t, string(file), "Secretname")
		require.NotContains(t, string(file), "996555123456")
	}
}

func testApplyConcurrent(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 60))
	c := Claim(t, s, b, 60)
	var wg sync.WaitGroup
	for _, mine := range []store.Store{s, w.Open(t), w.Open(t)} {
		wg.Go(func() {
			for _, p := range c {
				_, err := mine.Apply(t.Context(), answer(p, payout.Accepted), verdict(p.Key, payout.StatePaid))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, 60, got.InState(payout.StatePaid))
	for _, r := range collect(t, s.List(t.Context(), store.Filter{Events: true})) {
		require.Len(t, r.Events, 3, "claimed, accepted, verdict: repeats are not kept")
	}
}

func testLookup(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	Load(t, s, "a", rows)
	known := rows[2].Key
	found, err := s.Lookup(t.Context(), []payout.Key{known, {ProjectID: 1234, PaymentID: "none"}, {ProjectID: 9, PaymentID: known.PaymentID}})
	require.NoError(t, err)
	require.Len(t, found, 1, "the same id in another project is another payout")
	require.Equal(t, rows[2].Key, found[known].Key)
	require.True(t, s.SameContent(found[known], rows[2].Method, rows[2].Canonical))
	require.False(t, s.SameContent(found[known], rows[2].Method, rows[1].Canonical))
	require.False(t, s.SameContent(found[known], "card", rows[2].Canonical))
}

func testRow(t *testing.T, _ World, s store.Store) {
	rows := Rows("a", 3)
	Load(t, s, "a", rows)
	r, err := s.Get(t.Context(), rows[1].Key)
	require.NoError(t, err)
	columns, l, err := s.Row(t.Context(), r.Payout, r.Places[0])
	require.NoError(t, err)
	require.Equal(t, Columns, columns)
	require.Equal(t, rows[1].Cells, l.Cells)
}

// An event lands on the payout of its key, whatever number it brings.
func testNumberIsAHint(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 3))
	c := Claim(t, s, b, 3)
	for _, number := range []uint64{c[0].Number, 0, c[1].Number, 1 << 40} {
		e := answer(c[1], payout.Progress)
		e.Number, e.Source, e.Status = number, payout.FromStatus, fmt.Sprint("word", number)
		got := Apply(t, s, e)
		require.Equal(t, c[1].Key, got.After.Key)
		require.Equal(t, e.Status, got.After.Reported.Status)
	}
	for _, other := range []store.Claimed{c[0], c[2]} {
		r, err := s.Get(t.Context(), other.Key)
		require.NoError(t, err)
		require.Equal(t, payout.StateSending, r.State)
	}
}

// The events of a payout say which gate each is about, whoever was asked between.
func testHistoryOfHosts(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 1))
	c := Claim(t, s, b, 1)[0]
	at := time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)
	Apply(t, s, answer(c, payout.Accepted))
	want := []string{host, host}
	for i, h := range []string{host, "other.example", "", host, "other.example"} {
		Apply(t, s, payout.Event{Key: c.Key, Kind: payout.Progress, Source: payout.FromCallback, Host: h, At: at, Reported: payout.Reported{Status: fmt.Sprint("word", i), Amount: payout.Amount{Minor: int64(1000 + i%2), Currency: "KGS"}}})
		want = append(want, h)
	}
	r, err := s.Get(t.Context(), c.Key)
	require.NoError(t, err)
	require.Len(t, r.Events, len(want))
	for i, e := range r.Events {
		require.Equal(t, want[i], e.Host, "event %d", i)
		require.Equal(t, c.Key, e.Key)
		if i > 1 {
			require.Equal(t, int64(1000+i%2), e.Amount.Minor)
			require.Equal(t, at, e.At)
		}
	}
}
