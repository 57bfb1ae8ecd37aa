package batch_test

import (
	"bytes"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/batch"
	"masspay/batch/payfile"
	"masspay/batch/result"
	"masspay/gate"
	"masspay/gate/gatesim"
	"masspay/gate/transport"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/seal"
)

// benchWorld is a store and a polite gate that accepts at once.
func benchWorld(b *testing.B) (*payfile.Checker, *batch.Runner) {
	b.Helper()
	o := bolt.Options{Path: filepath.Join(b.TempDir(), "masspay.db"), Key: seal.NewKey()}
	require.NoError(b, bolt.Create(b.Context(), o))
	s, err := bolt.Open(b.Context(), o)
	require.NoError(b, err)
	sim := gatesim.New(gatesim.Config{Projects: map[uint32]string{1234: secret}})
	api := httptest.NewServer(sim)
	l, err := s.Limiter(100_000, 1000)
	require.NoError(b, err)
	c, err := gate.NewClient(gate.Options{BaseURL: api.URL, Keys: keys{}, Limiter: l, Timeout: timeout, Transport: transport.New(64)})
	require.NoError(b, err)
	b.Cleanup(func() {
		c.Close()
		api.Close()
		sim.Close()
		_ = l.Close()
		_ = s.Close()
	})
	return &payfile.Checker{Store: s, Projects: project1234}, &batch.Runner{
		Store: s, Gate: c, Rate: 100_000, Workers: 64, Timeout: timeout, Attempts: 5, MaxRefusals: 20, StatusAfter: statusAfter,
	}
}

func loadBench(b *testing.B, c *payfile.Checker, text string) store.Batch {
	b.Helper()
	path := filepath.Join(b.TempDir(), "file.csv")
	require.NoError(b, writeFile(path, text))
	in, err := payfile.Open(path, nil)
	require.NoError(b, err)
	defer func() { _ = in.Close() }()
	k, err := c.Check(b.Context(), in)
	require.NoError(b, err)
	l, err := k.Load(b.Context(), whole(c), in, nil)
	require.NoError(b, err)
	return l.Batch
}

// From the claim to the durable acceptance, over real HTTP on loopback.
func BenchmarkRun(b *testing.B) {
	const rows = 20_000
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		c, r := benchWorld(b)
		batch := loadBench(b, c, file("b", rows))
		b.StartTimer()
		out, err := r.Run(b.Context(), batch.ID)
		require.NoError(b, err)
		require.Equal(b, rows, out.Sent)
		n += rows
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// The second pass over a file, into the store.
func BenchmarkLoad(b *testing.B) {
	const rows = 50_000
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		c, _ := benchWorld(b)
		path := filepath.Join(b.TempDir(), "file.csv")
		require.NoError(b, writeFile(path, file("b", rows)))
		in, err := payfile.Open(path, nil)
		require.NoError(b, err)
		k, err := c.Check(b.Context(), in)
		require.NoError(b, err)
		b.StartTimer()
		_, err = k.Load(b.Context(), whole(c), in, nil)
		require.NoError(b, err)
		n += rows
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// The result, written and read back.
func BenchmarkReport(b *testing.B) {
	const rows = 50_000
	c, _ := benchWorld(b)
	loaded := loadBench(b, c, file("b", rows))
	var out bytes.Buffer
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		_, err := result.Report{}.To(b.Context(), whole(c), loaded, &out)
		require.NoError(b, err)
		n += rows
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// whole is the store that a check of a test asks.
func whole(c *payfile.Checker) store.Store {
	s, _ := c.Store.(store.Store)
	return s
}
