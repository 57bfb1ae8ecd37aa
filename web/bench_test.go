package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/gate"
	"masspay/store/bolt"
	"masspay/store/seal"
	"masspay/store/storetest"
	"masspay/web"
)

type benchKeys struct{}

func (benchKeys) Signing(uint32) (gate.Secret, bool) { return gate.NewSecret("secret"), true }
func (benchKeys) Accepted(uint32) []gate.Secret      { return []gate.Secret{gate.NewSecret("secret")} }

// Callbacks over real HTTP into a real store, each durable before its 200.
func BenchmarkCallbacks(b *testing.B) {
	o := bolt.Options{Path: filepath.Join(b.TempDir(), "masspay.db"), Key: seal.NewKey()}
	require.NoError(b, bolt.Create(b.Context(), o))
	s, err := bolt.Open(b.Context(), o)
	require.NoError(b, err)
	const rows = 200_000
	batch := storetest.Load(b, s, "bench", storetest.Rows("bench", rows))
	storetest.Claim(b, s, batch, 1)
	committer := web.NewCommitter(s)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go committer.Run(ctx)
	server := httptest.NewServer(&web.Callbacks{Keys: benchKeys{}, Committer: committer, Log: slog.New(slog.DiscardHandler)})
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	var n atomic.Int64
	b.SetParallelism(32) // 64 connections on 2 cores
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			res, err := client.Post(server.URL, "application/json", strings.NewReader(callback(fmt.Sprintf("bench-%06d", i%rows))))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				b.Errorf("answered %d", res.StatusCode)
			}
		}
	})
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "callbacks/s")
}

func callback(id string) string {
	body := map[string]any{
		"project_id": 1234, "payment": map[string]any{"id": id, "type": "payout", "status": "success"},
		"operation": map[string]any{"id": 1234567890123456, "status": "success", "code": "0", "provider": map[string]any{"payment_id": "prov-000123"}},
	}
	unsigned, _ := json.Marshal(body)
	canonical, _ := gate.Canonical(unsigned)
	body["signature"] = gate.NewSecret("secret").Sign(canonical)
	signed, _ := json.Marshal(body)
	return string(signed)
}
