package seal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

func TestASealedRowOpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	s, err := New(NewKey())
	require.NoError(t, err)
	cells, key := []string{"payout", "", "1250", "Айбек"}, payout.Key{ProjectID: 1234, PaymentID: "p1"}
	sealed := s.Seal(cells, key, 1, 7)
	got, err := s.Open(sealed, key, 1, 7)
	require.NoError(t, err)
	require.Equal(t, cells, got)
	other := key
	other.PaymentID = "p2"
	for _, try := range []func() ([]string, error){
		func() ([]string, error) { return s.Open(sealed, other, 1, 7) },
		func() ([]string, error) { return s.Open(sealed, key, 2, 7) },
		func() ([]string, error) { return s.Open(sealed, key, 1, 8) },
	} {
		_, err := try()
		require.ErrorIs(t, err, store.ErrDamaged)
	}
}

// Cells that are cut off, or say that they are longer than they are, are not read.
func TestCellsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	whole := encodeCells([]string{"payout", "", "1250"})
	cells, ok := decodeCells(whole)
	require.True(t, ok)
	require.Equal(t, []string{"payout", "", "1250"}, cells)
	for n := range whole {
		_, ok := decodeCells(whole[:n])
		require.False(t, ok, n)
	}
	for _, b := range [][]byte{append(whole, 0), {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, {1, 0xff, 0xff, 0xff, 0xff, 0x0f}} {
		_, ok := decodeCells(b)
		require.False(t, ok)
	}
}

// A row of 13 columns, sealed and opened.
func BenchmarkSeal(b *testing.B) {
	s, err := New(NewKey())
	require.NoError(b, err)
	key := payout.Key{ProjectID: 1234, PaymentID: "night-00000001"}
	cells := []string{
		"payout", "1234", "sbp-p2p", key.PaymentID, "100000", "KGS", "996555123456", "mbank",
		"cust-000001", "198.51.100.47", "Aibek", "Asanov", "user00000001@example.com",
	}
	b.ReportAllocs()
	for b.Loop() {
		opened, err := s.Open(s.Seal(cells, key, 1, 1), key, 1, 1)
		if err != nil || len(opened) != len(cells) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
