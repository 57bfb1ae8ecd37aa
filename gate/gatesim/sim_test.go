package gatesim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"masspay/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func request(id, account string) string {
	body := map[string]any{
		"general": map[string]any{"project_id": 1234, "payment_id": id},
		"account": map[string]any{"number": account}, "customer": map[string]any{"id": "c-1"},
		"payment": map[string]any{"amount": 1000, "currency": "KGS"},
	}
	unsigned, _ := json.Marshal(body)
	canonical, _ := gate.Canonical(unsigned)
	body["general"].(map[string]any)["signature"] = gate.NewSecret("secret").Sign(canonical)
	signed, _ := json.Marshal(body)
	return string(signed)
}

func post(s *Sim, path, body string) (int, string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

const payoutPath, statusEndpoint = "/v2/payment/sbp-p2p/payout", "/v2/payment/status"

func sim(t *testing.T, cfg Config) *Sim {
	cfg.Projects = map[uint32]string{1234: "secret"}
	s := New(cfg)
	t.Cleanup(s.Close)
	return s
}

func TestListenOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "gate.example:0", "[::]:0"} {
		_, err := Listen(address)
		require.Error(t, err, address)
	}
	_, err := Listen("0.0.0.0:0")
	require.ErrorContains(t, err, "loopback only")
	l, err := Listen("127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

func TestAKnownIDIsRefusedOrPaidAgain(t *testing.T) {
	t.Parallel()
	for _, every := range []bool{false, true} {
		s := sim(t, Config{PayEvery: every})
		code, body := post(s, payoutPath, request("p1", "996555123420"))
		require.Equal(t, 200, code, body)
		code, body = post(s, payoutPath, request("p1", "996555123420"))
		if every {
			require.Equal(t, 200, code)
			require.Equal(t, 1, s.Stats().Doubles, "a careless second send shows")
			continue
		}
		require.Equal(t, 400, code)
		require.Contains(t, body, `"3041"`)
		require.Zero(t, s.Stats().Doubles)
	}
}

func TestBadRequestsMakeNoPayment(t *testing.T) {
	t.Parallel()
	s := sim(t, Config{})
	for _, tt := range []struct {
		body string
		code int
	}{
		{"{", 422}, {strings.Replace(request("p1", "1"), "1000", "1001", 1), 400}, {strings.Replace(request("p1", "1"), "1234", "9", 1), 404},
	} {
		code, _ := post(s, payoutPath, tt.body)
		require.Equal(t, tt.code, code)
	}
	require.Zero(t, s.Stats().Payouts)
}

func TestTheStatusEndpointLearnsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sim(t, Config{StatusLag: 2 * time.Second, OutcomeAfter: 3 * time.Second})
		post(s, payoutPath, request("p1", "996555123405"))
		_, body := post(s, statusEndpoint, request("p1", "1"))
		require.Contains(t, body, `"3061"`)
		time.Sleep(2 * time.Second) //nolint:forbidigo // virtual time
		_, body = post(s, statusEndpoint, request("p1", "1"))
		require.Contains(t, body, `"processing"`)
		time.Sleep(2 * time.Second) //nolint:forbidigo // virtual time
		_, body = post(s, statusEndpoint, request("p1", "1"))
		require.Contains(t, body, `"partially_paid_out"`)
		s.Close()
		require.EqualValues(t, 500, s.Ledger()[0].Paid)
	})
}

func TestALateAcceptanceComesAfterTheCallerGaveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sim(t, Config{Rates: map[Fault]float64{Late: 1}, LateBy: 5 * time.Second, HangFor: time.Second})
		require.Panics(t, func() { post(s, payoutPath, request("p1", "996555123420")) }, "no answer")
		require.Zero(t, s.Stats().Payouts)
		time.Sleep(5 * time.Second) //nolint:forbidigo // virtual time
		synctest.Wait()
		require.Equal(t, 1, s.Stats().Payouts)
		s.Close()
	})
}

func TestTheSameSeedMisbehavesTheSame(t *testing.T) {
	t.Parallel()
	play := func(seed uint64) map[Fault]int {
		s := sim(t, Config{Seed: seed, Rates: map[Fault]float64{Error500: 0.3, TooMany: 0.3}})
		for i := range 50 {
			post(s, payoutPath, request(strings.Repeat("p", i+1), "996555123420"))
		}
		return s.Stats().Faults
	}
	require.Equal(t, play(7), play(7))
	require.NotEqual(t, play(7), play(8))
}

func TestManagement(t *testing.T) {
	t.Parallel()
	s := sim(t, Config{})
	post(s, payoutPath, request("p1", "996555123420"))
	for _, path := range []string{"/ledger", "/history", "/stats"} {
		w := httptest.NewRecorder()
		s.Management().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		b, err := io.ReadAll(w.Body)
		require.NoError(t, err)
		require.True(t, json.Valid(b), path)
	}
	code, _ := post(s, "/ledger", "")
	require.Equal(t, 404, code, "not on the API's listener")
}

func TestParseRates(t *testing.T) {
	t.Parallel()
	got, err := ParseRates([]string{"cut-after=0.05"})
	require.NoError(t, err)
	require.Equal(t, map[Fault]float64{CutAfter: 0.05}, got)
	for _, bad := range []string{"", "cut-after", "cut-after=2", "cut-after=x", "unheard-of=0.1"} {
		_, err := ParseRates([]string{bad})
		require.Error(t, err, bad)
	}
}
