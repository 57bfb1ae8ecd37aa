package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

func testHosts(t *testing.T, _ World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 2))
	gates, err := s.OpenGates(t.Context())
	require.NoError(t, err)
	require.Empty(t, gates)
	c := Claim(t, s, b, 1)
	gates, _ = s.OpenGates(t.Context())
	require.Equal(t, map[string]int{host: 1}, gates)
	Apply(t, s, answer(c[0], payout.Accepted))
	Apply(t, s, outcomeOf(c[0].Key, payout.StateDeclined))
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
