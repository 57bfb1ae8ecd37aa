package web

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// No HTTP request can start a payout: nothing in this package names a way to
// send one, to claim one, or to load a file.
func TestNothingHereCanSend(t *testing.T) {
	t.Parallel()
	forbidden := map[string]bool{
		"Send": true, "Claim": true, "Load": true, "Run": false, "Runner": true, "Reconciler": true, "NewClient": true, "Client": true,
		"NewComposer": true, "Draft": true, "Signing": true, "Command": true, "CommandContext": true, "Store": true,
	}
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	files := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				require.False(t, forbidden[s.Sel.Name], "%s uses %s", e.Name(), s.Sel.Name)
			}
			return true
		})
	}
	require.NotZero(t, files)
}
