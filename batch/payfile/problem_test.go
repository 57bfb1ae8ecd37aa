package payfile

import (
	"testing"

	"masspay/gate"

	"github.com/stretchr/testify/require"
)

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
