package batch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/batch"
	"masspay/batch/payfile"
	"masspay/batch/result"
	"masspay/gate"
	"masspay/gate/gatesim"
	"masspay/payout"
	"masspay/samples"
	"masspay/store"
	"masspay/store/storetest"
)

func TestWellBehavedGate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: 20 * time.Millisecond})
	text := file("p", 300)
	b := w.load(text)
	out := w.run(b)
	require.Equal(t, 300, out.Sent)
	require.Equal(t, map[string]int{"paid": 300}, states(w.result(b)))
	w.check(b, text)
}

// Every outcome that the platform can give, one row each.
func TestEveryOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: 60 * time.Millisecond})
	w.tweak = func(r *batch.Runner) { r.Wait = 2 * time.Second }
	text := header
	wanted := []struct {
		suffix        int
		state, action string
	}{
		{20, "paid", "nothing"}, {1, "declined", "new id"}, {2, "paid", "nothing"}, {3, "paid", "nothing"}, {4, "declined", "new id"},
		{5, "partly paid", "check first"}, {6, "rejected", "fix row"}, {7, "returned", "check first"}, {8, "paid", "nothing"},
		{9, "check", "check first"}, {10, "open", "wait"}, {11, "rejected", "fix row"}, {12, "declined", "never pay again"},
		{14, "declined", "check first"}, {15, "check", "check first"},
	}
	for _, v := range wanted {
		text += line(fmt.Sprintf("v-%02d", v.suffix), 5000, v.suffix)
	}
	b := w.load(text)
	w.run(b)
	for i, row := range w.result(b) {
		require.Equal(t, wanted[i].state, row["result.state"], "suffix %02d: %v", wanted[i].suffix, row)
		require.Equal(t, wanted[i].action, row["result.action"], "suffix %02d", wanted[i].suffix)
	}
	w.check(b, text)
}

// The heart of the matter: a gate that pays every POST it accepts, that cuts,
// hangs, lies and forgets, and 10,000 rows.
func TestHostileGateThatPaysEveryPost(t *testing.T) {
	t.Parallel()
	n, seed := 10_000, uint64(time.Now().UnixNano())
	if testing.Short() {
		n = 1_000
	}
	t.Logf("seed %d", seed)
	rates := gatesim.Hostile()
	rates[gatesim.TooMany] = 0.001 // each pauses everybody for a second
	w := newWorld(t, gatesim.Config{
		Seed: seed, Rates: rates, PayEvery: true, OutcomeAfter: 50 * time.Millisecond, StatusLag: 500 * time.Millisecond,
		LateBy: 2500 * time.Millisecond, DelayBy: time.Second, HangFor: 10 * time.Second, CallbackGap: 100 * time.Millisecond,
	})
	text := file("h", n)
	b := w.load(text)
	out := w.run(b)
	st := w.sim.Stats()
	t.Logf("%+v; %d requests, faults %v", out, st.Requests, st.Faults)
	w.explainOpen()
	require.Equal(t, map[string]int{"paid": n}, states(w.result(b)), "every row as the gate has it")
	require.Equal(t, n, st.Payouts)
	require.Zero(t, st.Doubles)
	require.Zero(t, st.OtherBody)
	w.check(b, text)
}

func TestSameFileAgainSendsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	text := file("s", 50)
	b := w.load(text)
	w.run(b)
	before := w.sim.Stats().Requests
	out := w.run(b)
	require.Zero(t, out.Sent)
	require.Equal(t, before, w.sim.Stats().Requests)
	in := input(t, "another-name.csv", text)
	id, err := in.ID()
	require.NoError(t, err)
	require.Equal(t, b.ID, id, "a batch is its bytes, whatever its name")
	w.check(b, text)
}

func TestChangedAmountIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	w.run(w.load(file("c", 5)))
	in := input(t, "changed.csv", strings.Replace(file("c", 5), ";1003;", ";9003;", 1))
	_, err := (&payfile.Checker{Store: w.s, Projects: project1234}).Check(t.Context(), in)
	var refused *payfile.FileError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 1, refused.Count)
	require.Equal(t, `line 5: general.payment_id "c-00003": this id is already known for another payout (payment.amount differs): 10.03 KGS, sbp-p2p, 996***23 there (paid), 90.03 KGS, sbp-p2p, 996***23 here; it was paid: take the row out, or put the old values back; only another payout, on top of it, gets a new id`, refused.Problems[0].String())
}

func TestCorrectedFileSendsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	monday := w.load(file("k", 40))
	w.run(monday)
	text := file("k", 40) + line("k-new-1", 700, 33) + line("k-new-2", 800, 34)
	tuesday := w.load(text)
	out := w.run(tuesday)
	require.Equal(t, 2, out.Sent)
	rows := w.result(tuesday)
	require.Equal(t, map[string]int{"paid": 42}, states(rows), "the report tells of all rows")
	require.Equal(t, "sent by batch "+monday.Short(), rows[0]["result.note"])
	w.check(tuesday, text)
}

func TestConfigurationRefusalStopsTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	w.tweak = func(r *batch.Runner) { r.Workers = 1 }
	text := header + line("r-1", 100, 20) + line("r-2", 100, 16) + line("r-3", 100, 20)
	b := w.load(text)
	out := w.run(b)
	require.Contains(t, out.Refused, "3262")
	require.Equal(t, map[string]int{"paid": 1, "open": 2}, states(w.result(b)))
	r, err := w.s.Get(t.Context(), payout.Key{ProjectID: 1234, PaymentID: "r-2"})
	require.NoError(t, err)
	require.Equal(t, payout.StateNew, r.State, "the refused row is free again")
	w.check(b, text)
}

// What waits for its slot of the rate as sending stops is not sent any more.
func TestAStopEndsTheWaitForASlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	w.rate = 1
	w.tweak = func(r *batch.Runner) { r.Workers, r.Rate, r.Timeout = 8, 100, 20*time.Second }
	text := header
	for i := range 30 {
		text += line(fmt.Sprintf("m-%02d", i), 100, 13)
	}
	out := w.run(w.load(text))
	require.NotEmpty(t, out.NoMoney)
	require.LessOrEqual(t, out.Sent, 3, "eight were waiting")
}

func TestNoMoneyStopsTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	w.tweak = func(r *batch.Runner) { r.Workers = 1 }
	text := header + line("n-1", 100, 20) + line("n-2", 100, 13) + line("n-3", 100, 20)
	b := w.load(text)
	out := w.run(b)
	require.Contains(t, out.NoMoney, "504")
	require.Equal(t, map[string]int{"paid": 1, "open": 2}, states(w.result(b)))
	w.check(b, text)
}

// What stopped one run stops the others of the batch, until a run is restarted.
func TestWhatStopsOneRunStopsTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	w.tweak = func(r *batch.Runner) { r.Workers = 1 }
	b := w.load(header + line("h-1", 100, 20) + line("h-2", 100, 13) + line("h-3", 100, 20))
	out := w.run(b)
	require.Contains(t, out.NoMoney, "504")
	is, err := w.s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.NotNil(t, is.Held)
	require.Equal(t, store.HeldByRun, is.Held.Kind)
	require.Contains(t, is.Held.Reason, "504")
	_, err = w.s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: w.api.URL})
	var held *store.HeldError
	require.ErrorAs(t, err, &held, "another run would claim nothing")

	out = w.run(b)
	require.Empty(t, out.Held, "a run that is restarted sends")
	require.Contains(t, out.NoMoney, "504")
}

// What a person holds is not sent, whoever starts a run; also where the gate was never
// proven to be one, which is asked first.
func TestAHeldBatchIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	w.tweak = func(r *batch.Runner) { r.Wait = time.Second }
	b := w.load(file("p", 5))
	require.NoError(t, w.s.Hold(t.Context(), b.ID, store.Hold{Kind: store.HeldByPerson, Reason: "wrong month", By: "boss@desk", At: time.Now()}))
	out := w.run(b)
	require.Zero(t, out.Sent)
	require.Contains(t, out.Held, "held by boss@desk")
	require.Contains(t, out.Held, "wrong month")
	lifted, err := w.s.LetGo(t.Context(), b.ID, store.HeldByPerson)
	require.NoError(t, err)
	require.True(t, lifted)
	require.Equal(t, 5, w.run(b).Sent)
}

// A batch that a person holds while it is sent stops, and goes on when it is let go: in the
// same run, and each payout once.
func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: 10 * time.Millisecond})
	stopped := make(chan struct{})
	w.rate = 100
	w.tweak = func(r *batch.Runner) { r.Workers, r.Stopped = 2, sync.OnceFunc(func() { close(stopped) }) }
	b := w.load(file("p", 120))
	var out batch.Ending
	var run sync.WaitGroup
	run.Go(func() { out = w.run(b) })
	require.Eventually(t, func() bool { return len(w.sim.Ledger()) > 3 }, 10*time.Second, time.Millisecond)
	require.NoError(t, w.s.Hold(t.Context(), b.ID, store.Hold{Kind: store.HeldByPerson, Reason: "wrong month", By: "boss@desk", At: time.Now()}))
	<-stopped
	sending := func() int {
		is, err := w.s.Batch(t.Context(), b.ID)
		require.NoError(t, err)
		return is.InState(payout.StateSending)
	}
	require.Eventually(t, func() bool { return sending() == 0 }, 10*time.Second, time.Millisecond, "what was claimed ahead is given back")
	posted := len(w.sim.Ledger())
	require.Less(t, posted, 120)
	<-time.After(600 * time.Millisecond)
	require.Len(t, w.sim.Ledger(), posted, "nothing leaves while it is held")
	lifted, err := w.s.LetGo(t.Context(), b.ID, store.PersonLifts()...)
	require.NoError(t, err)
	require.True(t, lifted)
	run.Wait()
	require.Empty(t, out.Held)
	require.Equal(t, 120, out.Sent)
	for _, e := range w.sim.Ledger() {
		require.Equal(t, 1, e.Accepted)
	}
	require.Contains(t, w.log.String(), "the batch is let go: sending goes on")
}

// Too many verdicts that are none hold the batch until a person lets it go.
func TestBreaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: time.Millisecond})
	breaker := batch.Breaker{DeclinedPercent: 40, DeclinedLeast: 10}
	w.rate = 150
	w.tweak = func(r *batch.Runner) {
		r.Workers, r.Wait, r.StatusAfter, r.Breaker = 1, time.Second, 20*time.Millisecond, breaker
	}
	text := header
	for i := range 300 {
		text += line(fmt.Sprintf("d-%03d", i), 100, []int{20, 1}[i%2]) // every second one is declined
	}
	b := w.load(text)
	out := w.run(b)
	require.Contains(t, out.Held, "verdicts are declined or rejected, more than 40 % (breakers.declined_percent)")
	require.Less(t, out.Sent, 300)
	require.GreaterOrEqual(t, out.Sent, 10)
	is, err := w.s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, store.HeldByBreaker, is.Held.Kind)
	require.Zero(t, w.run(b).Sent, "another run does not lift it")

	// A person lets it go: what was declined before does not count again.
	_, err = w.s.LetGo(t.Context(), b.ID, store.PersonLifts()...)
	require.NoError(t, err)
	again := w.run(b)
	require.Contains(t, again.Held, "breakers.declined_percent")
	require.GreaterOrEqual(t, again.Sent, 10)
	breaker = batch.Breaker{DeclinedPercent: 60, DeclinedLeast: 10}
	_, err = w.s.LetGo(t.Context(), b.ID, store.PersonLifts()...)
	require.NoError(t, err)
	require.Equal(t, 300-out.Sent-again.Sent, w.run(b).Sent)
}

// Sending ends when it is to end, and another run goes on.
func TestUntil(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: time.Millisecond})
	until := time.Now().Add(300 * time.Millisecond)
	w.rate = 100
	w.tweak = func(r *batch.Runner) { r.Workers, r.Wait, r.Until = 1, time.Second, until }
	b := w.load(file("p", 300))
	out := w.run(b)
	require.Contains(t, out.Late, "and sending ends for now")
	require.Less(t, out.Sent, 300)
	until = time.Time{}
	w.tweak, w.rate = nil, 1000
	require.Equal(t, 300-out.Sent, w.run(b).Sent)
}

func TestIdenticalFailuresStopTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	text := header
	for i := range 200 {
		text += line(fmt.Sprintf("a-%03d", i), 100, 11)
	}
	b := w.load(text)
	w.tweak = func(r *batch.Runner) { r.Workers, r.Rate = 4, 20 }
	out := w.run(b)
	require.Contains(t, out.SameFailures, "20 payouts in a row were refused in the same way")
	n := states(w.result(b))
	require.GreaterOrEqual(t, n["rejected"], 20)
	require.Greater(t, n["open"], 100, "the rest was left alone")
	w.check(b, text)
}

// A gate that answers everything with 500 puts some rows in doubt and leaves
// the rest of the file alone.
func TestAGateThatIsDownDoesNotPutAWholeFileInDoubt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{Rates: map[gatesim.Fault]float64{gatesim.Error500: 1}})
	w.tweak = func(r *batch.Runner) { r.Workers, r.Rate, r.Wait = 4, 20, time.Second }
	text := file("d", 200)
	b := w.load(text)
	out := w.run(b)
	require.NotEmpty(t, out.SameFailures)
	unknown := 0
	for r, err := range w.s.List(t.Context(), store.Filter{States: []payout.State{payout.StateUnknown}}) {
		require.NoError(t, err)
		require.True(t, r.Doubted)
		unknown++
	}
	require.Less(t, unknown, 60)
	w.check(b, text)
}

func TestARefusedConnectionIsSurelyUnsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	w.tweak = func(r *batch.Runner) { r.Attempts, r.Wait = 2, time.Second }
	text := file("u", 3)
	b := w.load(text)
	w.api.Close()
	w.run(b)
	for r, err := range w.s.List(t.Context(), store.Filter{}) {
		require.NoError(t, err)
		require.Equal(t, payout.StateNew, r.State, "nothing is in doubt")
		require.Zero(t, r.Tries)
		require.NotEmpty(t, r.Reported.Message)
	}
}

// Who watches a run is told that the gate cannot be reached, once, and that it answers
// again.
func TestAnOutageIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	w.tweak = func(r *batch.Runner) { r.Attempts = 100 }
	text := file("o", 5)
	b := w.load(text)
	address := w.api.Listener.Addr().String()
	w.api.Close()
	done := make(chan batch.Ending, 1)
	go func() { done <- w.run(b) }()
	require.Eventually(t, func() bool { return strings.Contains(w.log.String(), "; trying again") }, time.Minute, time.Millisecond)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("another process has taken the port meanwhile: %v", err)
	}
	again := httptest.NewUnstartedServer(w.sim)
	_ = again.Listener.Close()
	again.Listener = l
	again.Start()
	defer func() { again.CloseClientConnections(); again.Close() }()
	require.Equal(t, 5, (<-done).Sent)
	require.Equal(t, 1, strings.Count(w.log.String(), "; trying again"))
	require.Equal(t, 1, strings.Count(w.log.String(), "the gate answers again"))
	require.Equal(t, map[string]int{"paid": 5}, states(w.result(b)))
}

func TestWaitZeroNeitherWaitsNorPolls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: time.Hour})
	w.tweak = func(r *batch.Runner) { r.Wait = 0 }
	text := file("w", 20)
	b := w.load(text)
	out := w.run(b)
	require.Equal(t, 20, out.Sent)
	require.Zero(t, out.Polled)
	for _, row := range w.result(b) {
		require.Equal(t, "open", row["result.state"], "accepted is not paid")
		require.Contains(t, row["result.note"], "accepted by the gate; whether it was paid is not known yet, do not pay it elsewhere, polled again from ")
	}
	w.check(b, text)
}

func TestAnInterruptedRunGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{PayEvery: true, OutcomeAfter: 10 * time.Millisecond})
	w.rate = 100
	text := file("i", 60)
	b := w.load(text)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for w.sim.Stats().Requests < 10 {
			time.Sleep(time.Millisecond) //nolint:forbidigo // waits for the gate, not for a while
		}
		cancel()
	}()
	out, err := w.runner(w.s).Run(ctx, b.ID)
	require.NoError(t, err)
	require.True(t, out.Interrupted)
	require.Less(t, out.Sent, 60)
	for r, err := range w.s.List(t.Context(), store.Filter{}) {
		require.NoError(t, err)
		require.NotEqual(t, payout.StateSending, r.State, "nothing is left held")
		require.NotEqual(t, payout.StateUnknown, r.State, "a signal creates no doubt")
	}
	w.run(b)
	require.Equal(t, map[string]int{"paid": 60}, states(w.result(b)))
	w.check(b, text)
}

// 429 holds all of them back; the rows are sent in the end, once each.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{Seed: 3, PayEvery: true, Rates: map[gatesim.Fault]float64{gatesim.TooMany: 0.1}})
	text := file("t", 40)
	b := w.load(text)
	w.run(b)
	require.NotZero(t, w.sim.Stats().Faults[gatesim.TooMany])
	require.Equal(t, map[string]int{"paid": 40}, states(w.result(b)))
	w.check(b, text)
}

// A store that came back from last week sends nothing that the lost one sent,
// even to a gate that pays every POST.
func TestRestoredStoreAsksFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{PayEvery: true, OutcomeAfter: 10 * time.Millisecond, StatusLag: 300 * time.Millisecond})
	text := file("z", 30)
	b := w.load(text)
	backup := w.o.Path + ".backup"
	require.NoError(t, w.s.Backup(t.Context(), backup))
	w.tweak = func(r *batch.Runner) { r.Wait = 0 }
	w.run(b) // all sent
	extra := file("z", 30) + line("z-more", 900, 40)
	restore(t, backup, w.o.Path)
	_, err := w.runner(w.s).Run(t.Context(), b.ID)
	require.ErrorIs(t, err, store.ErrRestored)
	w.tweak = func(r *batch.Runner) { r.AskFirst = true }
	tuesday := w.load(extra)
	w.run(tuesday)
	require.Equal(t, map[string]int{"paid": 31}, states(w.result(tuesday)))
	require.Zero(t, w.sim.Stats().Doubles)
	w.check(tuesday, extra)
}

func TestCancelGivesUpOnlyTheUntouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: time.Hour})
	w.tweak = func(r *batch.Runner) { r.Wait, r.Workers = 0, 1 }
	text := header + line("x-1", 100, 20) + line("x-2", 100, 13) + line("x-3", 100, 20)
	b := w.load(text)
	w.run(b) // stops at the second, for want of money
	tuesday := w.load(text + line("x-4", 100, 20))
	c, err := batch.Cancel(t.Context(), w.s, batch.CancelRequest{Batch: b.ID})
	require.NoError(t, err)
	require.Equal(t, batch.CancelResult{Shared: 2, Attempted: 1}, c, "Tuesday's batch asks for them too")
	c, err = batch.Cancel(t.Context(), w.s, batch.CancelRequest{Batch: tuesday.ID, Shared: true})
	require.NoError(t, err)
	require.Equal(t, batch.CancelResult{Done: 3, Attempted: 1}, c, "what was turned away for want of money cannot be a payment")
	w.check(b, text)
}

// The gate speaks before the file is loaded.
func TestCallbackBeforeLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: 10 * time.Millisecond})
	text := file("e", 3)
	n := gate.Notice{Key: payout.Key{ProjectID: 1234, PaymentID: "e-00001"}, Type: "payout", Reported: payout.Reported{Status: "success", Amount: payout.Amount{Minor: 1001, Currency: "KGS"}}, Customer: "c-e-00001", Made: time.Now()}
	_, err := w.s.Apply(t.Context(), n.Event(payout.FromCallback, "", time.Now()))
	require.NoError(t, err)
	b := w.load(text)
	out := w.run(b)
	require.Equal(t, 2, out.Sent)
	rows := w.result(b)
	require.Equal(t, "paid", rows[1]["result.state"])
	require.Equal(t, "the gate knew of it before this store did", rows[1]["result.note"])
}

// The gate speaks of last year's payment of the id, before the file is loaded and after:
// nothing of it is believed, the rows are not sent, and a person must look.
func TestCallbacksOfAnothersPayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: 10 * time.Millisecond})
	text := file("e", 4)
	foreign := func(id, status string) payout.Event {
		n := gate.Notice{
			Key: payout.Key{ProjectID: 1234, PaymentID: id}, Type: "payout", Reported: payout.Reported{Status: status, Amount: payout.Amount{Minor: 1001, Currency: "KGS"}},
			Customer: "c-other", Account: "996700000000", Made: time.Now().AddDate(-1, 0, 0),
		}
		return n.Event(payout.FromCallback, "", time.Now())
	}
	_, err := w.s.Apply(t.Context(), foreign("e-00001", "success"))
	require.NoError(t, err)
	b := w.load(text)
	_, err = w.s.Apply(t.Context(), foreign("e-00002", "decline"), foreign("e-00003", "processing"))
	require.NoError(t, err)
	out := w.run(b)
	require.Equal(t, 1, out.Sent)
	rows := w.result(b)
	require.Equal(t, map[string]int{"paid": 1, "check": 3}, states(rows))
	for _, i := range []int{1, 2, 3} {
		require.Equal(t, "0", rows[i]["result.attempts"])
		require.Equal(t, "check first", rows[i]["result.action"])
		require.Contains(t, rows[i]["result.note"], "customer.id differs")
		require.Empty(t, rows[i]["result.gate_status"])
	}
	storetest.Check(t, w.s)
	keepsSecrets(t, w.o.Path, w.log.String())
	require.Equal(t, 1, len(w.sim.Ledger()), "nothing was sent under the other three")
}

// failing is a store that cannot write what the gate answered.
type failing struct {
	store.Store
	after int
	mu    sync.Mutex
}

var errDisk = errors.New("no space left on device")

func (f *failing) Apply(ctx context.Context, events ...payout.Event) ([]store.Change, error) {
	f.mu.Lock()
	f.after--
	broken := f.after < 0
	f.mu.Unlock()
	if broken {
		return nil, errDisk
	}
	return f.Store.Apply(ctx, events...)
}

func TestAStoreThatCannotWriteStopsTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{PayEvery: true, OutcomeAfter: 10 * time.Millisecond, StatusLag: 100 * time.Millisecond})
	w.rate = 200
	text := file("f", 200)
	b := w.load(text)
	dying := w.open()
	_, err := w.runner(&failing{Store: dying, after: 3}).Run(t.Context(), b.ID)
	require.ErrorIs(t, err, errDisk)
	require.Less(t, w.sim.Stats().Requests, 150, "nothing more is sent")
	require.NoError(t, dying.Close())
	w.run(b)
	require.Equal(t, map[string]int{"paid": 200}, states(w.result(b)))
	w.check(b, text)
}

// A load balancer answers polls with its own 404: that frees nothing.
func TestA404OfSomeProxyFreesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{PayEvery: true, Rates: map[gatesim.Fault]float64{gatesim.CutBefore: 1, gatesim.StatusHTML: 1}})
	w.tweak = func(r *batch.Runner) { r.Wait = quietPeriod + 2*time.Second }
	text := file("q", 2)
	b := w.load(text)
	w.run(b)
	for _, e := range w.sim.History() {
		require.NotEqual(t, "answered 0", e.Did)
	}
	require.Equal(t, map[string]int{"open": 2}, states(w.result(b)))
	w.check(b, text)
}

// restore puts a copy in the store's place.
func restore(t *testing.T, backup, path string) {
	t.Helper()
	b, err := os.ReadFile(backup)
	require.NoError(t, err)
	// A new file in the old one's place: over the old one it would be written
	// while serve is at it.
	require.NoError(t, os.WriteFile(path+".restored", b, 0o600))
	require.NoError(t, os.Rename(path+".restored", path))
}

// A gate that says nothing but 429, for longer than a claim may wait: the run
// ends all the same, and nothing is in doubt.
func TestEndless429Ends(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{Rates: map[gatesim.Fault]float64{gatesim.TooMany: 1}, RetryAfter: 2 * time.Second})
	w.tweak = func(r *batch.Runner) { r.Attempts, r.Wait, r.Workers = 2, time.Second, 1 }
	text := file("l", 1)
	b := w.load(text)
	out := w.run(b)
	require.Equal(t, 2, out.Sent)
	r, err := w.s.Get(t.Context(), payout.Key{ProjectID: 1234, PaymentID: "l-00000"})
	require.NoError(t, err)
	require.Equal(t, payout.StateNew, r.State)
	w.check(b, text)
}

func TestMethodsOfOneFileGoToTheirEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	text := sample(t, "methods.csv")
	b := w.load(text)
	w.run(b)
	paths := map[string]bool{}
	for _, r := range w.sim.History() {
		paths[r.Path] = true
	}
	for _, p := range []string{"sbp-p2p", "card", "mobile", "banks/vietnam", "bank-transfer/mexico", "cash-out-kz/atm", "wallet/papara"} {
		require.Contains(t, paths, "/v2/payment/"+p+"/payout")
	}
	require.Equal(t, map[string]int{"paid": 8}, states(w.result(b)))
}

func TestSkipInvalid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	text := header + line("s-1", 100, 20) + line("s-2", 0, 20) + line("twice", 300, 20) + line("s-3", 400, 20) + ";;;;;;;;;;;;\n" + line("twice", 500, 20)
	in := input(t, "file.csv", text)
	k, err := (&payfile.Checker{Store: w.s, Projects: project1234, Skip: true}).Check(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 6, k.Rows)
	require.Equal(t, 4, k.Skipped)
	require.Equal(t, 2, k.New)
	require.Equal(t, []payout.Amount{{Minor: 500, Currency: "KGS"}}, k.Totals, "of the rows that are left")
	l, err := k.Load(t.Context(), w.s, in, nil)
	require.NoError(t, err)
	out := w.run(l.Batch)
	require.Equal(t, 2, out.Sent)
	rows := w.result(l.Batch)
	require.Equal(t, map[string]int{"paid": 2, "skipped": 4}, states(rows))
	require.Contains(t, rows[1]["result.note"], `payment.amount "0": must be more than zero`)
	require.Contains(t, rows[2]["result.note"], "duplicate payment_id, also on line 7")
	require.Equal(t, "fix row", rows[5]["result.action"])
	w.check(l.Batch, text)
}

// What a row that is left out has in its cells must not keep the result from
// being written.
func TestSkipInvalidWithOddLineEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	text := header + line("s-1", 100, 20) + strings.Replace(line("s-2", 100, 20), "Asanov", "\"Asa\r\r\nnov\"", 1)
	in := input(t, "file.csv", text)
	k, err := (&payfile.Checker{Store: w.s, Projects: project1234, Skip: true}).Check(t.Context(), in)
	require.NoError(t, err)
	l, err := k.Load(t.Context(), w.s, in, nil)
	require.NoError(t, err)
	w.run(l.Batch)
	require.Equal(t, map[string]int{"paid": 1, "skipped": 1}, states(w.result(l.Batch)))
}

func TestReportReadsBackWhatItWrote(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	b := w.load(file("r", 3))
	create := func() *os.File {
		f, err := os.CreateTemp(t.TempDir(), "")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, f.Close()) })
		return f
	}
	wrong := b
	wrong.Totals = []payout.Amount{{Minor: 1, Currency: "KGS"}}
	_, err := result.Report{}.Write(t.Context(), w.s, wrong, create())
	require.ErrorIs(t, err, result.ErrMismatch)
	wrong = b
	wrong.Rows--
	_, err = result.Report{}.Write(t.Context(), w.s, wrong, create())
	require.ErrorIs(t, err, result.ErrMismatch)

	f := create()
	sum, err := result.Report{}.Write(t.Context(), w.s, b, f)
	require.NoError(t, err)
	require.Equal(t, 3, sum.Rows)
	var stream bytes.Buffer
	_, err = result.Report{}.To(t.Context(), w.s, b, &stream)
	require.NoError(t, err)
	text, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Equal(t, stream.String(), string(text))
}

func sample(t testing.TB, name string) string {
	t.Helper()
	b, err := samples.Files.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

// First payouts that cannot be sent make no room for others.
func TestACanaryThatCannotBeSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{Rates: map[gatesim.Fault]float64{gatesim.TooMany: 1}, RetryAfter: 50 * time.Millisecond})
	w.tweak = func(r *batch.Runner) {
		r.Attempts, r.Wait, r.Workers, r.Canary = 1, 3*time.Second, 4, batch.NewCanary(2)
	}
	b := w.load(file("l", 10))
	out := w.run(b)
	ids := map[payout.Key]bool{}
	for _, r := range w.sim.History() {
		ids[r.Key] = true
	}
	require.Len(t, ids, 2)
	require.Equal(t, 2, out.Sent)
}

// Two runs at once, the one with a larger canary than the other, send no more than the larger one.
func TestTwoCanariesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: time.Hour})
	w.tweak = func(r *batch.Runner) { r.Wait = time.Second }
	b := w.load(file("l", 60))
	var runs sync.WaitGroup
	for i := range 4 {
		s := w.open()
		runs.Go(func() {
			r := w.runner(s)
			r.Canary = batch.NewCanary(2 + i)
			_, err := r.Run(t.Context(), b.ID)
			require.NoError(t, err)
		})
	}
	runs.Wait()
	ids := map[payout.Key]bool{}
	for _, r := range w.sim.History() {
		ids[r.Key] = true
	}
	require.LessOrEqual(t, len(ids), 5)
	require.NotEmpty(t, ids)
}

// A run whose canary another one has taken over does not let the other's go, also when its own
// payouts are paid.
func TestACanaryThatWasTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: time.Second})
	b := w.load(file("l", 6))
	w.tweak = func(r *batch.Runner) { r.Wait, r.Canary = 3*time.Second, batch.NewCanary(2) }
	r := w.runner(w.s)
	var run sync.WaitGroup
	run.Go(func() {
		_, err := r.Run(t.Context(), b.ID)
		require.NoError(t, err)
	})
	other := w.open()
	require.Eventually(t, func() bool { return w.sim.Stats().Requests >= 2 }, 10*time.Second, time.Millisecond)
	hold := batch.NewCanary(3).Hold("other")
	require.NoError(t, other.Hold(t.Context(), b.ID, *hold))
	run.Wait()
	is, err := other.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.NotNil(t, is.Held)
	require.Equal(t, hold.Token, is.Held.Token)
	require.Equal(t, []int{4, 2}, []int{is.Unsent(), is.InState(payout.StatePaid)})
}

// A person who lets a batch go in the middle of its canary does not end that: what was sent
// is waited for, and what was not paid is followed by others.
func TestACanaryThatWasLetGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{OutcomeAfter: time.Hour})
	w.tweak = func(r *batch.Runner) { r.Wait, r.Canary = time.Second, batch.NewCanary(2) }
	b := w.load(file("l", 9))
	for range 3 {
		w.run(b)
		ids := map[payout.Key]bool{}
		for _, r := range w.sim.History() {
			ids[r.Key] = true
		}
		require.Len(t, ids, 2)
		_, err := w.s.LetGo(t.Context(), b.ID, store.PersonLifts()...)
		require.NoError(t, err)
	}
	declined := newWorld(t, gatesim.Config{})
	declined.tweak = w.tweak
	b = declined.load(header + line("d-1", 100, 1) + line("d-2", 100, 1) + line("d-3", 100, 20) + line("d-4", 100, 20) + line("d-5", 100, 20))
	declined.run(b)
	unsent := func() int {
		is, err := declined.s.Batch(t.Context(), b.ID)
		require.NoError(t, err)
		return is.Unsent()
	}
	require.Equal(t, 3, unsent())
	_, err := declined.s.LetGo(t.Context(), b.ID, store.PersonLifts()...)
	require.NoError(t, err)
	declined.run(b)
	require.Zero(t, unsent(), "two others went alone and were paid")
}
