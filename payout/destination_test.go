package payout

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An account is the same however it is written, and no other one is.
func TestAppendAccount(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"+77011234567", "7/701/1234567", "7(701)1234567", "7_701_1234567", "７7011234567", "7–701–1234567", " 7 701 123 45 67", "٧٧٠١١٢٣٤٥٦٧", "𝟕7011234567"} {
		require.Equal(t, "77011234567", string(AppendAccount(nil, s)), s)
	}
	for _, s := range []string{"AB-12 3456", "ab123456", "Ａｂ123456"} {
		require.Equal(t, "xAB123456", string(AppendAccount([]byte("x"), s)), s)
	}
	require.NotEqual(t, AppendAccount(nil, "77011234567"), AppendAccount(nil, "77011234568"))
	require.NotEqual(t, AppendAccount(nil, "a.b@example.com"), AppendAccount(nil, "ab.example.com"))
	require.Equal(t, "---", string(AppendAccount(nil, "---")), "nothing of it is an account")
	require.Empty(t, AppendAccount(nil, ""))
	columns := []string{"card.pan", FieldAccount}
	require.Equal(t, Payee(columns, []string{"", "AB 1"}), Payee(columns, []string{"", "ab1"}))
	require.Equal(t, []int{1, 0}, Destinations(columns), "the account's number comes first: methods that need it may have the others")
}
