package postgres

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/store"
	"masspay/store/postgres/pgtest"
)

// envNetwork names the socket folder, the address over the network, and the link's name, to
// a process of TestAcrossANetwork that is in a network namespace of its own.
const envNetwork = "MASSPAY_TEST_NETWORK"

// A machine that is cut off by its network hears nothing at all: no connection is closed,
// and packets vanish. It does what every other one does that is cut off. The connection is
// encrypted, to a server that proves its name; one that does not is refused.
func TestAcrossANetwork(t *testing.T) {
	if where := os.Getenv(envNetwork); where != "" {
		acrossTheNetwork(t, where)
		return
	}
	t.Parallel()
	ip, err := exec.LookPath("ip")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("NOT TESTED: a link that is cut in a network namespace needs root and the program ip (Debian: apt install iproute2)")
	}
	c := cluster(t)
	var b [3]byte
	_, _ = rand.Read(b[:])
	space := "mp" + hex.EncodeToString(b[:])
	host, inside := space+"a", space+"b"
	server, client := fmt.Sprintf("10.213.%d.1", b[0]), fmt.Sprintf("10.213.%d.2", b[0])
	command := func(words ...string) error {
		out, err := exec.CommandContext(context.Background(), words[0], words[1:]...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%q: %w: %s", words, err, out)
		}
		return err
	}
	if err := command(ip, "netns", "add", space); err != nil {
		t.Skip("NOT TESTED: no network namespace can be made: ", err)
	}
	t.Cleanup(func() { _ = command(ip, "netns", "del", space) })
	for _, words := range [][]string{
		{"link", "add", host, "type", "veth", "peer", "name", inside},
		{"link", "set", inside, "netns", space},
		{"addr", "add", server + "/30", "dev", host},
		{"link", "set", host, "up"},
		{"-n", space, "addr", "add", client + "/30", "dev", inside},
		{"-n", space, "link", "set", inside, "up"},
		{"-n", space, "link", "set", "lo", "up"},
	} {
		require.NoError(t, command(append([]string{ip}, words...)...))
	}
	t.Cleanup(func() { _ = command(ip, "link", "del", host) })
	require.NoError(t, c.Down("fast"))
	root, settings := serveTLS(t, c, server, client)
	require.NoError(t, c.Up(append(settings, "listen_addresses="+server)...))

	self, err := os.Executable()
	require.NoError(t, err)
	within := exec.CommandContext(t.Context(), ip, "netns", "exec", space, self, "-test.run=^TestAcrossANetwork$", "-test.v")
	within.Env = append(os.Environ(), envNetwork+"="+strings.Join([]string{c.Socket, server, root, host, fmt.Sprint(os.Getpid())}, ","))
	var out bytes.Buffer
	within.Stdout, within.Stderr = &out, &out
	err = within.Run()
	require.NoError(t, err, out.String())
	require.Contains(t, out.String(), "--- PASS: TestAcrossANetwork")
}

// acrossTheNetwork is the other end of the link.
func acrossTheNetwork(t *testing.T, where string) {
	t.Helper()
	words := strings.Split(where, ",")
	socket, server, root, link, pid := words[0], words[1], words[2], words[3], words[4]
	set := func(to string) func() {
		return func() {
			out, err := exec.CommandContext(context.Background(), "nsenter", "--net=/proc/"+pid+"/ns/net", "ip", "link", "set", link, to).CombinedOutput()
			require.NoError(t, err, string(out))
		}
	}
	w := newWorldAt(t, "postgres://masspay@/postgres?host="+socket)
	over := "postgres://masspay@" + server + "/postgres?connect_timeout=2&sslmode="
	var refused *store.ConfigError
	for _, mode := range []string{"disable", "prefer", "require", "verify-ca&sslrootcert=" + root} {
		o := w.options()
		o.URL = over + mode
		_, err := Open(t.Context(), o)
		if !strings.HasPrefix(mode, "verify") {
			require.ErrorAs(t, err, &refused, mode)
		}
	}
	o := w.options()
	o.URL = over + "verify-full"
	_, err := Open(t.Context(), o)
	require.ErrorContains(t, err, "certificate", "one that nobody here knows")
	isCutOff(t, w, road{over + "verify-full&sslrootcert=" + root, set("down"), set("up")})
}

// serveTLS gives a cluster that is down a certificate for its address, and returns the
// file of the one who signed it, and the server's settings.
func serveTLS(t *testing.T, c *pgtest.Cluster, server, client string) (root string, settings []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: server}, IPAddresses: []net.IP{net.ParseIP(server)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
	root = filepath.Join(t.TempDir(), "root.crt")
	hba, err := os.ReadFile(filepath.Join(c.Dir, "pg_hba.conf"))
	require.NoError(t, err)
	require.NoError(t, errors.Join(
		os.WriteFile(root, cert, 0o600),
		c.WriteFile("server.crt", cert),
		c.WriteFile("server.key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})),
		c.WriteFile("pg_hba.conf", append(hba, "\nhostssl all all "+client+"/32 trust\n"...)),
	))
	return root, []string{"ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key"}
}
