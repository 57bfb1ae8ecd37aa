package payout

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithoutCells(t *testing.T) {
	t.Parallel()
	columns := []string{
		"general.payment_id", "account.number", "customer.first_name", "customer.last_name", "customer.email", "payment.amount", "unheard.of",
		"customer.middle_name", "customer.phone", "customer.building",
	}
	cells := []string{"p-1", "KG5512345678ABCD", "Айбек", "Мырза Айбеков", "a.i+b@example.com", "100000", "Secret", "Li", "996555123420", "100"}
	for text, want := range map[string]string{
		"":                          "",
		"General decline":           "General decline",
		"p-1 of 100000, code 20801": "p-1 of 100000, code 20801",
		"айбек":                     "а***к",
		"no money for МЫРЗА  АЙБЕКОВ!":      "no money for МЫРЗ***КОВ!",
		"Мырза-Айбеков, Мырза&nbsp;Айбеков": "Мырз***ков, Мырз***ков",
		"A.I+B@Example.com":                  "A.I+***com",
		"KG55 1234 5678 ABCD":                "KG55***BCD",
		"account 5512345678ABCD":             "account 5512***BCD",
		"to 996 555 123-420 or 555123420":    "to 996 ***420 or 555***20",
		"secret":                             "s***t",
		"Mr Li, lines":                       "Mr **, lines",
		"house 100, code 20100":              "house ***, code 20100",
		strings.Repeat("x ", 130) + "KG5512": strings.Repeat("x ", 130) + "K***2",
	} {
		got := WithoutCells(text, columns, cells)
		require.Equal(t, strings.ToLower(want), strings.ToLower(got), "%q", text)
	}
	// Cells of all kinds never fail.
	require.Equal(t, "a", WithoutCells("a", []string{"x", "y"}, []string{"\xff\xfe", strings.Repeat("(", 500)}))
}
