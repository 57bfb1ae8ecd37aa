package result

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// A result that differs from the batch in anything is not taken for it.
func TestReadBackIsCompared(t *testing.T) {
	t.Parallel()
	b := store.Batch{Rows: 2, Totals: []payout.Amount{{Minor: 300, Currency: "KGS"}}}
	right := func() reading {
		return reading{rows: 2, sums: map[string]int64{"KGS": 300}, cells: []byte("cells")}
	}
	require.NoError(t, right().compare(b, Report{}, Summary{}, []byte("cells")))
	for name, spoil := range map[string]func(*reading){
		"a row less":    func(r *reading) { r.rows-- },
		"another sum":   func(r *reading) { r.sums["KGS"]++ },
		"a currency":    func(r *reading) { r.sums["USD"] = 1 },
		"another cell":  func(r *reading) { r.cells = []byte("cellz") },
		"no cell there": func(r *reading) { r.cells = nil },
	} {
		got := right()
		spoil(&got)
		require.ErrorIs(t, got.compare(b, Report{}, Summary{}, []byte("cells")), ErrMismatch, name)
	}
}

// family is a store with the payouts of one row.
type family struct {
	store.Store
	of []payout.Payout
}

func (f family) Family(context.Context, payout.Key) ([]payout.Payout, error) { return f.of, nil }

// What a refused row is told depends on what became of its other payouts.
func TestPaidAgain(t *testing.T) {
	t.Parallel()
	first := payout.Key{ProjectID: 1, PaymentID: "p"}
	known := func(k payout.Key) bool { return k == first }
	refused := payout.Payout{Key: first, State: payout.StateDeclined}
	retry := func(s payout.State) payout.Payout {
		return payout.Payout{Key: payout.Key{ProjectID: 1, PaymentID: "p-r2"}, State: s, Attempt: 1}
	}
	for _, tt := range []struct {
		other payout.Payout
		act   string
	}{
		{retry(payout.StatePaid), ActionNothing},
		{retry(payout.StateAccepted), ActionWait},
		{retry(payout.StateUnknown), ActionWait},
		{retry(payout.StatePartial), ActionCheck},
		{retry(payout.StateDeclined), ""},
		{refused, ""},
	} {
		act, note, err := paidAgain(t.Context(), family{of: []payout.Payout{refused, tt.other}}, known, &store.Line{Payout: refused})
		require.NoError(t, err)
		require.Equal(t, tt.act, act, "%v", tt.other.State)
		require.Equal(t, tt.act != "", note != "")
	}
}
