package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every command that a text of the program names is there, with the flags that the text
// gives it: a hint works when it is pasted. What following it leads to, the scripts try.
func TestCommandsInTextsExist(t *testing.T) {
	t.Parallel()
	root := (&app{}).root()
	named := regexp.MustCompile(`masspay ([a-z]+)((?: (?:--?[a-z][a-z-]*(?:=%[a-z])?|[A-Z_]+|%s|[a-z]+\.csv))*)`)
	flag := regexp.MustCompile(` --?([a-z][a-z-]*)`)
	commands := map[string]bool{}
	for _, c := range root.Commands() {
		commands[c.Name()] = true
	}
	prose := map[string]bool{} // words that stand behind the program's name and are no commands
	for _, w := range strings.Fields("has that does writes must can with to signs says runs reads processes pays names knows kept converts configuration by and") {
		prose[w] = true
	}
	found := 0
	for _, folder := range []string{".", "../../batch", "../../gate", "../../store", "../../store/bolt", "../../payout", "../../web"} {
		names, err := filepath.Glob(filepath.Join(folder, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, names)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(name)
			require.NoError(t, err)
			file, err := parser.ParseFile(token.NewFileSet(), name, source, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				require.NoError(t, err)
				for _, m := range named.FindAllStringSubmatch(text, -1) {
					if !commands[m[1]] {
						require.True(t, prose[m[1]], "%s: %q names no command", name, m[0])
						continue
					}
					c, _, err := root.Find([]string{m[1]})
					require.NoError(t, err, m[0])
					for _, f := range flag.FindAllStringSubmatch(m[2], -1) {
						known := f[1] == "help" || c.Flags().Lookup(f[1]) != nil || c.InheritedFlags().Lookup(f[1]) != nil ||
							len(f[1]) == 1 && c.Flags().ShorthandLookup(f[1]) != nil
						require.True(t, known, "%s: %q: masspay %s has no flag %s", name, m[0], m[1], f[1])
					}
					found++
				}
				return true
			})
		}
	}
	require.Greater(t, found, 40)
	t.Logf("%d commands in texts", found)
}
