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
