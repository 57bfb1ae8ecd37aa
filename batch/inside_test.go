package batch

import (
	"context"
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

// ticking is a store that only knows what time it is.
type ticking struct{ store.Store }

func (ticking) Tick() payout.Tick { return clock.Tick() }

// What the gate did not know when it was asked, it may know by the time of its
// answer: "not found" counts from the question.
func TestNotSeenCountsFromTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := gate.NewClient(gate.Options{BaseURL: "https://gate.example", Keys: oneKey{}, Limiter: noLimit{}, Timeout: time.Hour, Transport: slowly{}})
		require.NoError(t, err)
		asked := clock.Tick()
		p := (&Reconciler{Gate: c, Store: ticking{}}).poll(t.Context(), payout.Payout{Key: payout.Key{ProjectID: 1, PaymentID: "p"}})
		require.True(t, p.proves, "only a gate speaks so")
		e := p.event
		require.Equal(t, payout.NotSeen, e.Kind)
		require.Equal(t, asked, e.Tick)
		since, ok := clock.Tick().Since(e.Tick)
		require.True(t, ok)
		require.Equal(t, time.Minute, since)
	})
}

// What stops a run for good is not forgotten because it comes while the batch is paused.
func TestStopWhilePaused(t *testing.T) {
	t.Parallel()
	r := &running{Runner: &Runner{}, state: newCoordinator(time.Now())}
	require.True(t, r.state.pause())
	require.False(t, r.state.pause())
	r.stop(&r.out.NoMoney, "the balance does not cover it")
	require.Equal(t, "the balance does not cover it", r.out.NoMoney)
	require.False(t, r.state.isPaused())
	require.False(t, r.state.resume())
	require.True(t, r.state.isHalted())
	require.NotEmpty(t, r.state.takeHoldReason())

	r = &running{Runner: &Runner{}, state: newCoordinator(time.Now())}
	require.True(t, r.state.pause())
	require.True(t, r.state.resume())
	require.False(t, r.state.isHalted())
}
