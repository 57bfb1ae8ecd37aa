package bolt

import (
	"path/filepath"
	"testing"

	"masspay/store"

	"github.com/stretchr/testify/require"
)

// A store is made and opened only where locks are known to hold, or where someone says
// that they do.
func TestFileSystems(t *testing.T) {
	t.Parallel()
	o := Options{Path: "/proc/masspay.db"}
	var unknown *store.FileSystemError
	require.ErrorAs(t, o.checkFileSystem(), &unknown)
	require.Equal(t, "/proc", unknown.Folder)
	require.Equal(t, "number 0x9fa0", unknown.Kind)
	require.ErrorAs(t, Create(t.Context(), o), &unknown)
	_, err := Open(t.Context(), o)
	require.Error(t, err)
	o.AnyFileSystem = true
	require.NoError(t, o.checkFileSystem())
	require.NoError(t, Options{Path: filepath.Join(t.TempDir(), "masspay.db")}.checkFileSystem())
}
