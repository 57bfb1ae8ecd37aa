package payout

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"account 996555123467 of aib@ek.com":   "account 996***67 of aib***om",
		"996555123467":                         "996***67",
		"account:996555123467":                 "account:996***67",
		"card 4111 1111 1111 1111 declined":    "card 4111***111 declined",
		"to +996 555 123 456, unknown":         "to +996***456, unknown",
		"4111-1111-1111-1111":                  "4111***111",
		"amount 12500 over 100000":             "amount 12500 over 100000",
		"code 3041":                            "code 3041",
		"phone 996\u00a0555\u00a0123\u00a0420": "phone 996\u00a0***420",
		"account 12345678":                     "account 1***8",
	} {
		require.Equal(t, want, CleanMessage(text))
	}
	require.Equal(t, "two lines", Clean("two\nlines"))
	require.Len(t, []rune(Clean(strings.Repeat("é ", 400))), 255)
	require.Equal(t, "1234567890123456", Clean("1234567890123456"), "an id of one word stays")
}

// What a later report leaves out stays, a code goes with its message, and of requests the
// first one that was accepted counts.
func TestReportedMerges(t *testing.T) {
	t.Parallel()
	kgs := Amount{Minor: 100, Currency: "KGS"}
	first := Reported{Status: "processing", Code: "9999", Message: "wait", Amount: kgs, OperationID: "1", ProviderPaymentID: "p", RequestID: "r1"}
	for _, tt := range []struct {
		name        string
		later, want Reported
	}{
		{"nothing", Reported{}, first},
		{"a status alone", Reported{Status: "success"}, Reported{"success", "", "", kgs, "1", "p", "r1"}},
		{"a code alone", Reported{Code: "0", Message: "ok"}, Reported{"processing", "0", "ok", kgs, "1", "p", "r1"}},
		{"another operation", Reported{OperationID: "2", ProviderPaymentID: "q"}, Reported{"processing", "9999", "wait", kgs, "2", "q", "r1"}},
		{"another request", Reported{RequestID: "r2"}, first},
		{"another amount", Reported{Amount: Amount{Minor: 7, Currency: "KGS"}}, Reported{"processing", "9999", "wait", Amount{Minor: 7, Currency: "KGS"}, "1", "p", "r1"}},
	} {
		is := first
		is.merge(tt.later)
		require.Equal(t, tt.want, is, tt.name)
	}
}
