package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Slips in a configuration are named in plain words, and what may be a secret is not
// repeated.
func TestSlipsInTheConfiguration(t *testing.T) {
	t.Parallel()
	const good = `gate:
  base_url: https://gate.host.test
  rate: 5
  quiet_period: 15m
projects:
  - id: 1234
    secret_file: 1234.secret
store:
  path: masspay.db
  key_file: store.key
callbacks:
  listen: 127.0.0.1:8080
  allow: [203.0.113.7]
`
	const hidden = "MySecretText+/=9"
	for _, tt := range []struct{ from, to, says string }{
		{"", "", ""},
		{"quiet_period: 15m", "quiet_period: 15", "line 4: quiet_period 15: want a time with a unit, as in 30s, 15m or 2h"},
		{"rate: 5", "rate: " + hidden, "line 3: rate: want a number, as in 5"},
		{"id: 1234", "id: 01234", "line 6: id 01234: a number without zeros before it, as in 1234"},
		{"id: 1234", "id: " + hidden, "line 6: id: want the number of a project, as in 1234"},
		{"rate: 5", "rates: 5", "line 3: unknown key rates: did you mean rate?"},
		{"secret_file: 1234", "secretfile: 1234", "line 7: unknown key secretfile: did you mean secret_file?"},
		{"rate: 5", "rate:5", "a key is followed by a colon and a space"},
		{"  rate", "\trate", "a tab? only spaces may precede a key"},
		{"secret_file: 1234.secret", "secret_file: ~/1234.secret", "projects[0].secret_file: ~ is not your home here"},
		{"store.key", "~anna/store.key", "store.key_file: ~ is not your home here"},
		{"https://gate.host.test", "https://gate.host.test:99999", "gate.base_url: want a port up to 65535"},
		{"https://gate.host.test", "https://anna:MySecretText@gate.host.test", "gate.base_url: an address with a user name or a password in it: take them out"},
		{"https://gate.host.test", "https://gate.host.test/?token=" + hidden, "gate.base_url: an address with something behind ? or #"},
		{"https://gate.host.test", hidden, "gate.base_url: want an address such as"},
		{"https://gate.host.test", "http://anna:MySecretText@gate.host.test", "gate.base_url: an address with a user name"},
		{"127.0.0.1:8080", "127.0.0.1:99999", `callbacks.listen "127.0.0.1:99999": want a port up to 65535, as in 127.0.0.1:8080`},
		{"127.0.0.1:8080", "anna:" + hidden + "@host:80", "callbacks.listen (not shown): want host:port"},
		{"203.0.113.7", "'" + hidden + "'", "callbacks.allow (not shown): want an address or a range"},
	} {
		path := filepath.Join(t.TempDir(), "masspay.yaml")
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(good, tt.from, tt.to, 1)), 0o600))
		_, err := loadConfig(path, nil)
		if tt.says == "" {
			require.NoError(t, err)
			continue
		}
		var f *failure
		require.ErrorAs(t, err, &f, tt.to)
		require.Equal(t, exitConfig, f.code)
		require.Contains(t, strings.Join(f.lines, "\n"), tt.says)
		require.NotContains(t, strings.Join(f.lines, "\n")+f.Error(), "MySecretText")
	}
	_, err := loadConfig(writeConfig(t, good), map[string]string{"MASSPAY_GATE_RATE": hidden})
	var f *failure
	require.ErrorAs(t, err, &f)
	require.Equal(t, []string{"MASSPAY_GATE_RATE: want a number"}, f.lines)
	// The secret itself where its file belongs.
	c, err := loadConfig(writeConfig(t, strings.Replace(good, "1234.secret", hidden, 1)), nil)
	require.NoError(t, err)
	_, err = c.secrets()
	require.ErrorContains(t, err, "it may be the secret itself")
	require.NotContains(t, err.Error(), "MySecretText")
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "masspay.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestProxiesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for value, ok := range map[string]bool{
		"": true, "http://proxy.example:3128": true, "proxy.example:3128": true, "socks5://10.0.0.1:1080": true, "http://[::1]:3128": true, "http://anna:pw@proxy:1": true,
		"::bad": false, "http://": false, "proxy:99999": false, "ftp://proxy:21": false, "http://pro xy": false, "%zz": false,
	} {
		err := proxyError([]string{"PATH=/bin", "https_proxy=" + value})
		if ok {
			require.NoError(t, err, value)
			continue
		}
		require.ErrorContains(t, err, "https_proxy is no address of a proxy; nothing was sent", value)
	}
}
