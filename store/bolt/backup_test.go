package bolt

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/store/storetest"
)

// A backup is made in a new file, whatever lies where it will lie, and a failed
// one leaves nothing behind.
func TestABackupFollowsAndReusesNothing(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	storetest.Load(t, s, "a", storetest.Rows("a", 4))
	folder := t.TempDir()
	precious := filepath.Join(folder, "precious")
	require.NoError(t, os.WriteFile(precious, []byte("mine"), 0o600))
	path := filepath.Join(folder, "copy.db")
	for _, name := range []string{"copy.db.part", "link.db"} {
		require.NoError(t, os.Symlink("precious", filepath.Join(folder, name)))
	}
	require.NoError(t, os.Symlink("nowhere", filepath.Join(folder, "dangling.db")))
	names := func() (names []string) {
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	before := names()

	for _, name := range []string{"link.db", "dangling.db", "precious"} {
		require.ErrorIs(t, s.Backup(t.Context(), filepath.Join(folder, name)), fs.ErrExist, name)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Backup(cancelled, path), context.Canceled)
	require.Equal(t, before, names(), "a failed backup leaves nothing behind")

	require.NoError(t, s.Backup(t.Context(), path))
	require.ElementsMatch(t, append(before, "copy.db"), names())
	st, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), st.Mode())
	b, err := os.ReadFile(precious)
	require.NoError(t, err)
	require.Equal(t, "mine", string(b))
}
