package storetest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// Bench runs the benchmarks that all stores share; each reports rows a second.
func Bench(b *testing.B, fresh func(t testing.TB) World) {
	b.Run("load", func(b *testing.B) {
		s := fresh(b).Open(b)
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			rows := Rows(fmt.Sprint("load", n), 50_000)
			n++
			b.StartTimer()
			Load(b, s, fmt.Sprint(n), rows)
		}
		b.ReportMetric(float64(n)*50_000/b.Elapsed().Seconds(), "rows/s")
	})
	for _, size := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("claim/%d", size), func(b *testing.B) { life(b, fresh, size, (*testing.B).StartTimer, (*testing.B).StopTimer) })
		b.Run(fmt.Sprintf("apply/%d", size), func(b *testing.B) { life(b, fresh, size, (*testing.B).StopTimer, (*testing.B).StartTimer) })
	}
	b.Run("lines", func(b *testing.B) {
		s := fresh(b).Open(b)
		batch := Load(b, s, "bench", Rows("bench", 50_000))
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			for _, err := range s.Lines(b.Context(), batch.ID) {
				require.NoError(b, err)
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("status", func(b *testing.B) {
		s := fresh(b).Open(b)
		batch := Load(b, s, "bench", Rows("bench", 50_000))
		var got store.Batch
		for b.Loop() {
			var err error
			got, err = s.Batch(b.Context(), batch.ID)
			require.NoError(b, err)
		}
		require.Equal(b, 50_000, got.Open())
	})
}

// life claims payouts and applies acceptances, so many in a commit, and measures
// one of the two.
func life(b *testing.B, fresh func(t testing.TB) World, size int, claiming, applying func(*testing.B)) {
	const rows = 200_000
	s := fresh(b).Open(b)
	batch := Load(b, s, "bench", Rows("bench", rows))
	done := 0
	b.ReportAllocs()
	for b.Loop() {
		claiming(b)
		c := Claim(b, s, batch, size)
		b.StopTimer()
		if len(c) == 0 {
			b.Fatal("the batch is too small for the benchmark")
		}
		events := make([]payout.Event, len(c))
		for i, p := range c {
			events[i] = answer(p, payout.Accepted)
		}
		applying(b)
		_, err := s.Apply(b.Context(), events...)
		b.StopTimer()
		require.NoError(b, err)
		done += len(c)
		b.StartTimer()
	}
	b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "rows/s")
}
