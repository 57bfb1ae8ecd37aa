package payout

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Rhymond/go-money"
	"github.com/stretchr/testify/require"
)

func TestAmountString(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		a    Amount
		want string
	}{
		{"two decimals", Amount{1250, "KGS"}, "12.50 KGS"},
		{"thousands", Amount{125000000, "KGS"}, "1,250,000.00 KGS"},
		{"no decimals", Amount{1250, "JPY"}, "1,250 JPY"},
		{"three decimals", Amount{5, "KWD"}, "0.005 KWD"},
		{"four decimals", Amount{12345, "CLF"}, "1.2345 CLF"},
		{"negative", Amount{-1250, "KGS"}, "-12.50 KGS"},
		{"zero", Amount{0, "EUR"}, "0.00 EUR"},
		{"unknown currency", Amount{1250, "XXZ"}, "1,250 minor units XXZ"},
		{"largest", Amount{MaxMinor, "KGS"}, "100,000,000,000.00 KGS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, tt.a.String())
		})
	}
}

func TestParseMinor(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"1", "1250", "10000000000000"} {
		_, err := ParseMinor(s)
		require.NoError(t, err, s)
	}
	for _, s := range []string{
		"", "0", "00", "-5", "+5", "12.50", "1,000", "1e3", "0x10", "010", " 1", "1 ", "٣٠٠", "１２", "1_000",
		"10000000000001", "99999999999999999999", "9223372036854775808",
	} {
		_, err := ParseMinor(s)
		require.ErrorIs(t, err, ErrAmount, s)
	}
}

func TestParseTotal(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Amount{
		"1250000.00KGS": {125000000, "KGS"}, "1250000KGS": {125000000, "KGS"}, "500JPY": {500, "JPY"},
		"0.005KWD": {5, "KWD"}, "12.50 KGS": {1250, "KGS"},
	} {
		got, err := ParseTotal(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "KGS", "1250000.0KGS", "1,250,000.00KGS", "12.50", "12.50kgs", "-1KGS", "500.00JPY", "1.2.3KGS", "9999999999999999999KGS"} {
		_, err := ParseTotal(s)
		require.ErrorIs(t, err, ErrAmount, s)
	}
}

// Two independent tables agree on every currency that both know, but for those
// where the other one is known to be behind ISO 4217.
func TestExponentsAgainstAnotherTable(t *testing.T) {
	t.Parallel()
	behind := []string{"UYI", "UYW"}
	compared := 0
	for code := range maps.Keys(currencies) {
		other := money.GetCurrency(code)
		if other == nil || slices.Contains(behind, code) {
			continue
		}
		exp, _ := Exponent(code)
		require.Equal(t, other.Fraction, exp, code)
		compared++
	}
	require.Greater(t, compared, 140)
}

func TestCurrencies(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	current := 0
	for code := range currencies {
		if CurrentCurrency(code, now) {
			current++
		}
	}
	require.Equal(t, 164, current, "currencies of ISO 4217 list one that are money")
	require.False(t, CurrentCurrency("HRK", now))
	require.True(t, CurrentCurrency("HRK", now.AddDate(-5, 0, 0)))
	require.False(t, CurrentCurrency("XCG", now.AddDate(-3, 0, 0)))
	require.False(t, CurrentCurrency("kgs", now))
	require.False(t, CurrentCurrency("XAU", now))
}

func TestMask(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"": "", "1234": "****", "12345678": "1***8", "996555123456": "996***56", "4242424242424242": "4242***242", "Айбек": "А***к",
	} {
		require.Equal(t, want, Mask(s))
	}
}

// No text becomes an amount but whole minor units as they are written.
func FuzzAmount(f *testing.F) {
	for _, s := range []string{"0", "1", "1250", "010", "12.50", "1e3", "-1", "+1", " 1", "999999999999999", "1000000000000000", "0x10", "1_000", "\u0661", "1250000.00KGS", "5JPY", "1.234BHD", "1.2KGS", "0.00USD", "9223372036854775807.99EUR"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseMinor(s); err == nil {
			require.Equal(t, s, strconv.FormatInt(n, 10))
			require.Positive(t, n)
		}
		a, err := ParseTotal(s)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, a.Minor, int64(0))
		_, known := Exponent(a.Currency)
		require.True(t, known)
		// What people read leads back to the same amount.
		number, currency, _ := strings.Cut(a.String(), " ")
		b, err := ParseTotal(strings.ReplaceAll(number, ",", "") + currency)
		require.NoError(t, err)
		require.Equal(t, a, b)
	})
}
