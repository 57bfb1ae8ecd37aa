package bolt

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/store"
	"masspay/store/storetest"
)

// What root makes beside another user's store is that user's: cron as root first, and
// the service after it.
func TestFilesBesideTheStoreAreItsOwners(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	const other = 65534
	require.NoError(t, os.Chown(s.o.Path, other, other))
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	storetest.Claim(t, s, b, 1)
	release, err := s.Probe(t.Context())
	require.NoError(t, err)
	require.NoError(t, release())
	l, err := openLimiter(s.o.Path, 10, 1)
	require.NoError(t, err)
	require.NoError(t, l.Wait(t.Context(), time.Minute))
	require.NoError(t, l.Close())
	_, err = s.BeginRun(t.Context(), store.Run{})
	require.NoError(t, err)
	beside, err := filepath.Glob(s.o.Path + "*")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(beside), 7, "%v", beside)
	for _, path := range beside {
		st, err := os.Stat(path)
		require.NoError(t, err)
		sys, _ := st.Sys().(*syscall.Stat_t)
		require.EqualValues(t, other, sys.Uid, path)
	}
	// It gives away nothing else.
	precious := filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(precious, nil, 0o600))
	link := s.o.Path + ".link"
	require.NoError(t, os.Symlink(precious, link))
	adopt(link, s.o.Path)
	st, err := os.Stat(precious)
	require.NoError(t, err)
	sys, _ := st.Sys().(*syscall.Stat_t)
	require.Zero(t, sys.Uid)
}
