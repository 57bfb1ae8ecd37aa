package web

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Files of others are what they were when they were taken in, and no other script is large
// enough to be one.
func TestVendored(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("assets/VENDORED")
	require.NoError(t, err)
	listed := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		if strings.HasPrefix(line, "#") || len(f) == 0 {
			continue
		}
		require.Len(t, f, 5, line)
		body, err := os.ReadFile(f[0])
		require.NoError(t, err)
		sum := sha256.Sum256(body)
		require.Equal(t, f[4], hex.EncodeToString(sum[:]), f[0])
		listed[strings.TrimPrefix(f[0], "assets/")] = true
	}
	own := map[string]int{"copy.js": 2_000, "style.css": 12_000, "favicon.svg": 1_000}
	for name, a := range assets {
		if !listed[name] {
			require.Less(t, len(a.body), own[name], name)
		}
	}
}
