package payout

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func statement() *Statement {
	return &Statement{
		Role: Releases, Person: "bob@example.com", At: time.Date(2026, 11, 26, 14, 3, 0, 0, time.UTC),
		Content: Content{File: [32]byte{1}, Sent: [32]byte{2}, Rows: 50, Totals: []Amount{{10365375, "KGS"}, {500, "JPY"}}},
	}
}

// A statement has one text, and a text that is changed anywhere is another statement or none.
func TestStatement(t *testing.T) {
	t.Parallel()
	s := statement()
	text := s.Text()
	require.Equal(t, "masspay release 1\nsha256 01"+strings.Repeat("0", 62)+"\ncontent 02"+strings.Repeat("0", 62)+
		"\nrows 50\nleft-out 0\ntotal 500 JPY\ntotal 103653.75 KGS\nperson bob@example.com\nat 2026-11-26T14:03:00Z\n", string(text))
	again, err := ParseStatement(text)
	require.NoError(t, err)
	require.True(t, again.About(s.Content))
	require.Equal(t, text, again.Text())

	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	lines[len(lines)-1] += "\n"
	require.Len(t, lines, 9)
	changed := func(name, text string) {
		is, err := ParseStatement([]byte(text))
		if err == nil {
			require.NotEqual(t, s.Text(), is.Text(), name)
			require.False(t, is.About(s.Content) && is.Role == s.Role && is.Person == s.Person && is.At.Equal(s.At), name)
			return
		}
		require.ErrorIs(t, err, ErrStatement, name)
	}
	for i := range lines {
		changed("dropped", strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), ""))
		changed("doubled", strings.Join(append(append(append([]string{}, lines[:i+1]...), lines[i]), lines[i+1:]...), ""))
		for j := range i {
			swapped := append([]string{}, lines...)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			changed("swapped", strings.Join(swapped, ""))
		}
		changed("added", strings.Join(append(append(append([]string{}, lines[:i]...), "note x\n"), lines[i:]...), ""))
	}
	for i := range text {
		for bit := range 8 {
			flipped := bytes.Clone(text)
			flipped[i] ^= 1 << bit
			changed("flipped", string(flipped))
		}
	}
	for _, odd := range []string{"", "\n", string(text) + "\n", strings.TrimSuffix(string(text), "\n"), strings.ReplaceAll(string(text), "\n", "\r\n"), strings.Replace(string(text), "rows 50", "rows 050", 1), strings.Replace(string(text), "01", "0A", 1), strings.Repeat("x", 9000)} {
		_, err := ParseStatement([]byte(odd))
		require.ErrorIs(t, err, ErrStatement)
	}

	other := s.Content
	other.LeftOut, other.Lines = 1, [32]byte{3}
	require.False(t, s.About(other))
	left := *s
	left.Content = other
	is, err := ParseStatement(left.Text())
	require.NoError(t, err)
	require.Equal(t, 1, is.LeftOut)
	require.True(t, is.About(other))
}
