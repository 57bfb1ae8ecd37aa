// Package docstest holds pages of the documentation against the code that they describe. With
// -update a test writes what the code says into the page instead; read the diff.
package docstest

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Update is the flag -update of every test that uses this package.
var Update = flag.Bool("update", false, "write what the code says into pages and golden files")

// Section compares the part of a page between "<!-- begin MARK -->" and "<!-- end MARK -->", each
// a line of its own, with what is wanted there.
func Section(t testing.TB, path, mark, want string) {
	t.Helper()
	text := read(t, path)
	begin, end := "<!-- begin "+mark+" -->\n", "<!-- end "+mark+" -->"
	i, j := strings.Index(text, begin), strings.Index(text, end)
	require.True(t, i >= 0 && j > i, "%s has no part %s", path, mark)
	i += len(begin)
	if *Update {
		require.NoError(t, os.WriteFile(path, []byte(text[:i]+want+text[j:]), 0o600))
		return
	}
	require.Equal(t, want, text[i:j], "%s, %s: go test -update writes it", path, mark)
}

// Rows compares the rows of a page's tables: want gives the first cells of each row that must be
// there, which is known by the first one. The cells behind them are the page's own.
func Rows(t testing.TB, path string, want [][]string) {
	t.Helper()
	lines := strings.Split(read(t, path), "\n")
	for _, cells := range want {
		begin, row := "| "+cells[0]+" |", "| "+strings.Join(cells, " | ")+" |"
		found := false
		for i, line := range lines {
			if !strings.HasPrefix(line, begin) {
				continue
			}
			found = true
			if *Update {
				own := strings.SplitN(line, "|", len(cells)+2)
				lines[i] = row + own[len(own)-1]
				continue
			}
			require.True(t, strings.HasPrefix(line, row), "%s: %s\nbegins otherwise than the code has it: %s", path, line, row)
		}
		require.True(t, found, "%s has no row %s", path, cells[0])
	}
	if *Update {
		require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}
