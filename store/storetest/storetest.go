// Package storetest is the suite that every store must pass, and the
// benchmarks that all share.
package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
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
	// back, and no one holds it any more.
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

func outcomeOf(key payout.Key, outcome payout.State) payout.Event {
	return payout.Event{
		Key: key, Kind: payout.Final, Source: payout.FromCallback, At: time.Now(), Outcome: outcome,
		Reported: payout.Reported{Status: "success", Code: "0", Message: "Success", OperationID: "1234567890123456", ProviderPaymentID: "prov-000123"},
	}
}

// proven is an outcome that shows whose payment it is about.
func proven(row store.Row, outcome payout.State) payout.Event {
	e := outcomeOf(row.Key, outcome)
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
			code     string
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
			g := group{l.Payout.State, l.Payout.Amount.Currency, l.Payout.Reason()}
			c := counted[g]
			c.State, c.Code = g.state, g.code
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
			require.Equal(t, counted[group{c.State, c.Amount.Currency, c.Code}], c, "counts of batch %s", b.Name)
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
		{"load refuses an id that is there twice", testLoadDoubled},
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
		{"early callbacks expire", testEarlyExpires},
		{"a cancelled id starts over", testCancelled},
		{"a cancelled id that comes to life during a load", testCancelledComesToLife},
		{"due payouts come in order, to one asker", testDue},
		{"askers share what is due", testDueConcurrent},
		{"a held batch is not claimed", testHold},
		{"a canary's hold", testCanary},
		{"the store's clock", testTick},
		{"a restored copy asks first", testRestored},
		{"a person says that it is a copy", testAskFirst},
		{"a backup", testBackup},
		{"a store that is busy", testBusy},
		{"a store that is damaged", testDamage},
		{"one rate for all processes", testLimiter},
		{"hosts of open payouts", testHosts},
		{"batches by prefix", testBatchPrefix},
		{"a page of rows", testPage},
		{"the newest batches", testLatest},
		{"what was not paid is counted by code", testCodes},
		{"what passes is counted", testFlows},
		{"runs are recorded", testRuns},
		{"a retry waits for what it repeats", testRetries},
		{"what the gate writes is masked", testMasked},
		{"rows are sealed", testSealed},
		{"many appliers agree", testApplyConcurrent},
		{"lookups", testLookup},
		{"row of a payout", testRow},
		{"random calls against a plain map", testModel},
		{"one holder at a time", testHistory},
		{"what is done is in the log", testAudit},
		{"several write one log", testAuditConcurrent},
		{"rows are known again", testResembling},
		{"a batch that is not allowed", testAllowance},
		{"sightings of a large batch", testManySightings},
		{"many payouts of one customer", testManyOfOneCustomer},
		{"many known rows", testManyKnown},
		{"exceptions", testExceptions},
		{"files of a series", testSeries},
		{"approvals are added", testApprovals},
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
