package main

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate"
)

// requireKeys makes sure that secrets sign as keys do; they can be told apart by
// nothing else.
func requireKeys(t *testing.T, secrets []gate.Secret, keys ...string) {
	t.Helper()
	var got, want []string
	for _, s := range secrets {
		got = append(got, s.Sign("a:1"))
	}
	for _, k := range keys {
		mac := hmac.New(sha512.New, []byte(k))
		mac.Write([]byte("a:1"))
		want = append(want, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	require.Equal(t, want, got)
}

func TestKeyring(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, text string, at time.Time) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
		return path
	}
	begun := time.Now().Add(-time.Hour)
	current, previous := write("current", "new\n", begun), write("previous", "old", begun)
	c := &config{Projects: []projectConfig{{ID: 1234, SecretFile: current, PreviousSecretFile: previous}}}
	k, err := c.secrets()
	require.NoError(t, err)
	requireKeys(t, k.Accepted(1234), "new", "old")
	require.Empty(t, k.Accepted(9))
	signing, ok := k.Signing(1234)
	require.True(t, ok)
	requireKeys(t, []gate.Secret{signing}, "new")

	// The key is rotated while serve runs.
	write("previous", "new", time.Now())
	write("current", "newest\r\n", time.Now())
	k.checked = time.Time{}
	requireKeys(t, k.Accepted(1234), "newest", "new")

	// A file that is empty for a moment keeps the old keys in force.
	write("current", "", time.Now().Add(time.Second))
	k.checked = time.Time{}
	requireKeys(t, k.Accepted(1234), "newest", "new")

	// The rotation is over: the previous secret goes.
	write("current", "newest", time.Now().Add(2*time.Second))
	require.NoError(t, os.Remove(previous))
	k.checked = time.Time{}
	requireKeys(t, k.Accepted(1234), "newest")

	require.NotContains(t, fmt.Sprintf("%v %+v %#v", k.keys, k.keys, k.keys), "newest")
}

func TestSecretsFromTheEnvironmentAndCredentials(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "7.secret"), []byte("credential"), 0o400))
	c := &config{
		Projects: []projectConfig{{ID: 1234}, {ID: 7}},
		env:      map[string]string{"MASSPAY_SECRET_1234": "from-env", "CREDENTIALS_DIRECTORY": folder},
	}
	k, err := c.secrets()
	require.NoError(t, err)
	requireKeys(t, k.Accepted(1234), "from-env")
	requireKeys(t, k.Accepted(7), "credential")
	c.Projects = append(c.Projects, projectConfig{ID: 8})
	_, err = c.secrets()
	require.ErrorContains(t, err, "project 8 has no secret; nothing was sent")
}

func TestOddSecrets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, says string }{
		{"secret\n", ""}, {"secret\r\n", ""}, {"se cret", ""}, {`se"cret"`, ""}, {"'", ""},
		{"", "is empty"}, {"\n", "is empty"},
		{"\ufeffsecret", "byte order mark"}, {"\xff\xfes\x00", "byte order mark"},
		{"one\ntwo\n", "more than one line"}, {" secret", "spaces around it"}, {"secret \n", "spaces around it"}, {"\tsecret", "spaces around it"},
		{`"secret"`, "quotes around it"}, {"'secret'\n", "quotes around it"},
	} {
		path := filepath.Join(t.TempDir(), "a.secret")
		require.NoError(t, os.WriteFile(path, []byte(tt.text), 0o600))
		got, err := (&config{}).readSecret(path)
		if tt.says == "" {
			require.NoError(t, err, "%q", tt.text)
			require.Equal(t, strings.TrimRight(tt.text, "\r\n"), got)
			continue
		}
		require.ErrorContains(t, err, tt.says, "%q", tt.text)
		require.NotContains(t, err.Error(), "secret\"", "it does not repeat the secret")
	}
}

func TestSecretsThatOthersCanChange(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.secret")
	require.NoError(t, os.WriteFile(path, []byte("s"), 0o600))
	for mode, says := range map[os.FileMode]string{0o600: "", 0o640: "", 0o400: "", 0o660: "its group can change the secret", 0o604: "every user of this machine can read"} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := (&config{}).readSecret(path)
		if says == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, says)
	}
	if os.Geteuid() != 0 {
		return // only root can give a file away
	}
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.Chown(path, 65534, 65534))
	_, err := (&config{}).readSecret(path)
	require.ErrorContains(t, err, "belongs to another user")
	require.Contains(t, explain(err).hint, "give the command as nobody, whose file it is, for example: runuser -u nobody -- masspay status", "never that the file is given away")
	require.Equal(t, explain(err).hint, explain(secretFailure("store.key_file", &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission})).hint)
	_, err = (&config{env: map[string]string{"CREDENTIALS_DIRECTORY": filepath.Dir(path)}}).readSecret(path)
	require.NoError(t, err, "systemd has put it there")
}
