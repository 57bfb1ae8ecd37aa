package approve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"masspay/payout"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// ErrNoAgent says that no SSH agent can be asked.
var ErrNoAgent = errors.New("no SSH agent can be asked (SSH_AUTH_SOCK)")

// Key is a private key that can be asked to sign.
type Key struct{ signer ssh.Signer }

// Fingerprint names the key as ssh-keygen does.
func (k Key) Fingerprint() string { return ssh.FingerprintSHA256(k.signer.PublicKey()) }

func (k Key) is(s *Signer) bool {
	return bytes.Equal(s.Key.Marshal(), k.signer.PublicKey().Marshal())
}

// KeyFile reads a private key, as ssh-keygen makes it. passphrase is asked where the key has
// one.
func KeyFile(path string, passphrase func() ([]byte, error)) (Key, error) {
	text, err := readKey(path)
	if err != nil {
		return Key{}, err
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		secret, err := passphrase()
		if err != nil {
			return Key{}, err
		}
		if signer, err = ssh.ParsePrivateKeyWithPassphrase(text, secret); err != nil {
			return Key{}, fmt.Errorf("%s: the passphrase is wrong, or the key cannot be read", path)
		}
	}
	if err != nil && !errors.As(err, &locked) {
		return Key{}, fmt.Errorf("%s: not a private key that can be read", path)
	}
	return Key{signer}, nil
}

// Agent are the keys that an SSH agent holds; close ends the connection to it, and what it
// signs with.
func Agent(socket string) (keys []Key, closes func(), err error) {
	if socket == "" {
		return nil, nil, ErrNoAgent
	}
	conn, err := net.Dial("unix", socket) //nolint:noctx // a local socket
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoAgent, err)
	}
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("%w: %w", ErrNoAgent, err)
	}
	for _, s := range signers {
		keys = append(keys, Key{s})
	}
	return keys, func() { _ = conn.Close() }, nil
}

// Whose is the person of the list that a key belongs to; "": none.
func (l Signers) Whose(k Key) string {
	for i := range l {
		if k.is(&l[i]) {
			return l[i].Person
		}
	}
	return ""
}

// Barred says why a key of the list does not count for a role at a time, "" where it does.
func (l Signers) Barred(k Key, role payout.Role, now time.Time) string {
	for i := range l {
		if k.is(&l[i]) {
			return l[i].mayNow(role, now)
		}
	}
	return "the key is not in the list of signers"
}

// readKey reads a file no longer than a key is.
func readKey(path string) ([]byte, error) {
	const longest = 1 << 20
	f, err := os.Open(path) //nolint:gosec // the key that the user named
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err == nil && len(text) > longest {
		err = fmt.Errorf("%s is too long for a key", path)
	}
	return text, err
}
