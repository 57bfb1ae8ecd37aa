package batch

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate"
	"masspay/gate/transport"
	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

func TestMessagesOfTheGateDoNotRepeatTheRow(t *testing.T) {
	t.Parallel()
	c := store.Claimed{
		Columns: []string{"general.payment_id", "customer.first_name", "customer.last_name", "account.number"},
		Cells:   []string{"p-1", "Aibek", "Asanov", "1234567"},
	}
	got := payout.WithoutCells("no funds for Aibek ASANOV, account 1234567, id p-1", c.Columns, c.Cells)
	require.Equal(t, "no funds for A***k A***V, account 1***7, id p-1", got)
}

// In a row whose cells have shifted, personal values stand under columns that
// are not personal; they are masked all the same.
func TestShiftedRowsAreMasked(t *testing.T) {
	t.Parallel()
	for column, values := range map[string][]string{
		gate.ColCurrency:  {"996555123456", "Beishenalieva"},
		gate.ColOperation: {"Beishenalieva", "996555123456", "a@example.com", "Aibek Asanov"},
		gate.ColMethod:    {"996555123456", "a@example.com"},
		gate.ColAmount:    {"Asanov", "a@example.com"},
		gate.ColProject:   {"996555123456"},
	} {
		for _, v := range values {
			ps := &problems{}
			(&rules{problems: ps}).problem(2, column, v, "wrong")
			require.NotContains(t, ps.kept[0].String(), v)
		}
	}
	ps := &problems{}
	(&rules{problems: ps}).problem(2, gate.ColAmount, "12.50", "wrong")
	require.Equal(t, `line 2: payment.amount "12.50": wrong`, ps.kept[0].String())
}

// noLimit lets everything go.
type noLimit struct{}

func (noLimit) Wait(context.Context, time.Duration) error { return nil }
func (noLimit) Pause(context.Context, time.Time) error    { return nil }

type oneKey struct{}

func (oneKey) Signing(uint32) (gate.Secret, bool) { return gate.NewSecret("s"), true }
func (oneKey) Accepted(uint32) []gate.Secret      { return nil }

// slowly answers every question a minute later with "not found".
type slowly struct{}

func (slowly) Post(context.Context, *transport.Target, []byte, func(bool) error) (transport.Response, bool, error) {
	time.Sleep(time.Minute) //nolint:forbidigo // virtual
	return transport.Response{Status: http.StatusOK, ContentType: "application/json", Body: `{"status":"error","code":"3061"}`}, true, nil
}

// What the gate did not know when it was asked, it may know by the time of its
// answer: "not found" counts from the question.
func TestNotSeenCountsFromTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := gate.NewClient(gate.Options{BaseURL: "https://gate.example", Keys: oneKey{}, Limiter: noLimit{}, Timeout: time.Hour, Transport: slowly{}})
		require.NoError(t, err)
		asked := clock.Tick()
		p := (&Reconciler{Gate: c}).poll(t.Context(), payout.Payout{Key: payout.Key{ProjectID: 1, PaymentID: "p"}})
		require.True(t, p.proves, "only a gate speaks so")
		e := p.event
		require.Equal(t, payout.NotSeen, e.Kind)
		require.Equal(t, asked, e.Tick)
		since, ok := clock.Tick().Since(e.Tick)
		require.True(t, ok)
		require.Equal(t, time.Minute, since)
	})
}

// Whoever must wait, look or never pay again is told why; so is everything that is not
// simply done.
func TestEveryActionHasANote(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	codes := []string{"", "0", "20000", "402", "20801", "2609", "3061", "3041", "9999", "31415"}
	at := time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC)
	told := map[string]int{}
	for range 20_000 {
		p := payout.New(payout.Key{ProjectID: 1, PaymentID: "p"}, "sbp-p2p", payout.Amount{Minor: 100, Currency: "KGS"})
		p.State = payout.States[rng.IntN(len(payout.States))]
		p.Code, p.Seen, p.Unproven = codes[rng.IntN(len(codes))], rng.IntN(2) == 0, rng.IntN(8) == 0
		p.Tries = rng.IntN(2)
		p.Flags = payout.Flags(rng.IntN(1<<14) & rng.IntN(1<<14) & rng.IntN(1<<14))
		p.Closed = p.Flags & payout.Flags(rng.IntN(1<<14))
		p.GateStatus = []string{"", "processing", "awaiting clarification"}[rng.IntN(3)]
		if p.State == payout.StateUnknown || p.State == payout.StateAccepted {
			p.AskAt, p.EndedAt = at, at
		}
		act := Action(p)
		told[act]++
		if act == ActNothing {
			continue
		}
		require.NotEmpty(t, Notes{}.Of(store.Line{Payout: p}), "%s %s code %q: %s", p.State, p.GateStatus, p.Code, act)
		if act == ActWait && p.State != payout.StateNew && p.State != payout.StateSending {
			require.Contains(t, Notes{}.Of(store.Line{Payout: p}), "polled again from 2026-11-26T02:00:00Z on")
		}
	}
	require.Len(t, told, len(Actions), "each was there")
}
