package payfile_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/batch/payfile"
	"masspay/payout"
)

// What is signed is what the store would send, and every cell of it counts.
func TestContent(t *testing.T) {
	t.Parallel()
	content := func(text string, skip bool) payout.Content {
		c := checker(t)
		c.Content, c.Skip = true, skip
		in := input(t, "file.csv", text)
		k, err := c.Check(t.Context(), in)
		require.NoError(t, err)
		l, err := k.Load(t.Context(), whole(c), in, nil)
		require.NoError(t, err)
		again, err := payfile.ContentOf(t.Context(), whole(c), l.Batch)
		require.NoError(t, err)
		require.Equal(t, k.Content, again, "from the store")
		return k.Content
	}
	whole := content(file("p", 3000), false)
	require.Equal(t, 3000, whole.Rows)
	require.Equal(t, whole, content(file("p", 3000), false))
	seen := map[[32]byte]string{}
	note := func(name, text string, skip bool) {
		is := content(text, skip)
		require.Empty(t, seen[is.Sent], name)
		seen[is.Sent] = name
		require.NotEqual(t, whole, is, name)
	}
	lines := strings.SplitAfter(file("p", 4), "\n")
	note("four rows", strings.Join(lines[:5], ""), false)
	note("three rows", strings.Join(lines[:4], ""), false)
	note("in another order", lines[0]+lines[2]+lines[1]+lines[3]+lines[4], false)
	note("another amount", strings.Replace(strings.Join(lines[:5], ""), ";1000;", ";1001;", 1), false)
	note("another account", strings.Replace(strings.Join(lines[:5], ""), "996555123420", "996555123499", 1), false)
	note("another bank", strings.Replace(strings.Join(lines[:5], ""), "mbank", "optima", 1), false)
	note("another name", strings.Replace(strings.Join(lines[:5], ""), "Asanov", "Asanova", 1), false)
	note("another id", strings.Replace(strings.Join(lines[:5], ""), "p-00000", "q-00000", 1), false)

	left := content(strings.Replace(strings.Join(lines[:5], ""), ";1001;", ";0;", 1), true)
	require.Equal(t, 1, left.LeftOut)
	other := content(strings.Replace(strings.Join(lines[:5], ""), ";1002;", ";0;", 1), true)
	require.NotEqual(t, left.Lines, other.Lines)
}
