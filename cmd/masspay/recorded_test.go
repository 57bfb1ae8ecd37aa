package main

import (
	"os"
	"os/user"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who logged in is known as whoever they work.
func TestLoginUser(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "loginuid")
	require.Empty(t, loginUser(path), "a system without it")
	for id, want := range map[string]string{me.Uid: me.Username, me.Uid + "\n": me.Username, "4294967295": "", "": ""} {
		require.NoError(t, os.WriteFile(path, []byte(id), 0o600))
		require.Equal(t, want, loginUser(path), id)
	}
	for _, wanted := range []string{"anna", "anna as masspay@server"} {
		require.True(t, isPerson(wanted, "anna as masspay@server"), wanted)
	}
	for _, wanted := range []string{"ann", "masspay", ""} {
		require.False(t, isPerson(wanted, "anna as masspay@server"), wanted)
	}
	require.True(t, isPerson("masspay", "masspay"))
	require.False(t, isPerson("", "masspay"))
}
