package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"masspay/gate"
	"masspay/store/seal"
)

// Secrets come from files, from systemd credentials, or from the environment,
// never from a flag, which every user of the machine can read.
const (
	envSecret   = "MASSPAY_SECRET_"   // and the project's number
	envStoreKey = "MASSPAY_STORE_KEY" // the text of the store's key
)

// readSecret reads a file that no one else may read or change. A line end behind the
// secret is not part of it; whatever else does not look like one secret is refused,
// because a wrong one only shows when the gate refuses it.
func (c *config) readSecret(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	given := c.env["CREDENTIALS_DIRECTORY"] != "" && filepath.Dir(path) == filepath.Clean(c.env["CREDENTIALS_DIRECTORY"])
	mode := st.Mode().Perm()
	switch owner, ok := ownerOf(st); {
	case mode&0o007 != 0:
		return "", failf(exitConfig, "chmod 600 "+shellWord(path), "%s: every user of this machine can read the secret (mode %04o); nothing was sent", path, mode)
	case mode&0o020 != 0:
		return "", failf(exitConfig, "chmod g-w "+shellWord(path), "%s: its group can change the secret (mode %04o); nothing was sent", path, mode)
	case ok && !given && owner != 0 && owner != os.Geteuid():
		return "", failf(exitConfig, asOwner(path), "%s: this secret belongs to another user, who can change it; nothing was sent", path)
	}
	b, err := os.ReadFile(path) //nolint:gosec // the configured path
	if err != nil {
		return "", err
	}
	s := strings.TrimRight(string(b), "\r\n")
	if odd := oddSecret(s); odd != "" {
		return "", failf(exitConfig, "put the secret alone into it, on one line", "%s: the secret %s; nothing was sent", path, odd)
	}
	return s, nil
}

// oddSecret says what does not look like one secret.
func oddSecret(s string) string {
	switch {
	case s == "":
		return "is empty"
	case strings.HasPrefix(s, "\ufeff"), strings.HasPrefix(s, "\xff\xfe"), strings.HasPrefix(s, "\xfe\xff"):
		return "begins with a byte order mark, which an editor has written"
	case strings.ContainsAny(s, "\r\n"):
		return "has more than one line"
	case strings.TrimSpace(s) != s:
		return "has spaces around it"
	case len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0]:
		return "has quotes around it"
	}
	return ""
}

// ownerOf is the user that a file belongs to, where the system tells.
func ownerOf(st fs.FileInfo) (uid int, ok bool) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(sys.Uid), true
}

// asOwner is what to do about a secret of another user. Dangerous to advise that the file is given
// to this one: a service that runs as the other would have lost it.
func asOwner(path string) string {
	name := ""
	if st, err := os.Stat(path); err == nil {
		if uid, ok := ownerOf(st); ok && uid != os.Geteuid() {
			if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
				name = u.Username
			}
		}
	}
	if name == "" {
		return "give the command as the user that the store and its secrets belong to"
	}
	return "give the command as " + name + ", whose file it is, for example: runuser -u " + name + " -- masspay status"
}

// notForAll refuses a file or folder that every user of the machine can change.
func notForAll(what, path string) error {
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm()&0o002 == 0 {
		return nil //nolint:nilerr // whoever opens it will say what is wrong
	}
	return failf(exitConfig, "chmod o-w "+shellWord(path), "%s %s can be changed by every user of this machine (mode %04o); nothing was sent", what, path, st.Mode().Perm())
}

// secretFailure says which secret cannot be had.
func secretFailure(what string, err error) error {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, fs.ErrNotExist) && what == "store.key_file":
		return failf(exitConfig, "put back the key that was made with this store, from its copy; a new one does not open it; for a first run, masspay init makes one", "%s: %w; nothing was sent", what, err)
	case errors.Is(err, fs.ErrNotExist) && secretInstead(err):
		return failf(exitConfig, "put the secret into a file with mode 600, and the file's name into secret_file",
			"%s: there is no such file; its name is not shown, because it may be the secret itself; nothing was sent", what)
	case errors.Is(err, fs.ErrNotExist):
		return failf(exitConfig, "put the secret alone into that file, readable by its owner only (chmod 600)", "%s: %w; nothing was sent", what, err)
	case errors.Is(err, fs.ErrPermission):
		path := ""
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			path = e.Path
		}
		if filepath.Base(filepath.Dir(filepath.Dir(path))) == "credentials" {
			return failf(exitConfig, "systemd has put it there, and not for this user: look at LoadCredential= and User= of the unit", "%s: %w; nothing was sent", what, err)
		}
		return failf(exitConfig, asOwner(path), "%s: %w; nothing was sent", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// credential is where systemd puts a credential, empty where there is none.
func (c *config) credential(name string) string {
	if c.env["CREDENTIALS_DIRECTORY"] == "" {
		return ""
	}
	path := filepath.Join(c.env["CREDENTIALS_DIRECTORY"], name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path // also one that cannot be read: that is said
}

// secretInstead reports whether the name of a file that is missing may be a secret that
// was written in its place: it has no extension, as files of secrets have.
func secretInstead(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && filepath.Ext(path.Path) == ""
}

// errNoKey says that nothing names the store's key.
var errNoKey = errors.New("the store's key is not configured")

// storeKey reads the key of the store.
func (c *config) storeKey() (seal.Key, error) {
	text, path := c.env[envStoreKey], c.Store.KeyFile
	if text == "" {
		if path == "" {
			path = c.credential("store.key")
		}
		if path == "" {
			return seal.Key{}, failf(exitConfig, "set store.key_file, or let systemd give it (LoadCredential=store.key:FILE); only for a first run masspay init makes one", "%w; nothing was sent", errNoKey)
		}
		var err error
		if text, err = c.readSecret(path); err != nil {
			return seal.Key{}, secretFailure("store.key_file", err)
		}
	}
	k, err := seal.ParseKey(text)
	if err != nil {
		return k, failf(exitConfig, "put back the key file that this store was made with", "store.key_file: %v; nothing was sent", err)
	}
	return k, nil
}

// databasePassword reads the password of store.url; empty: the database asks for none, or
// finds it where its own tools do (PGPASSFILE, PGPASSWORD).
func (c *config) databasePassword() (string, error) {
	path := c.Store.PasswordFile
	if path == "" {
		path = c.credential("store.password")
	}
	if path == "" {
		return "", nil
	}
	text, err := c.readSecret(path)
	if err != nil {
		return "", secretFailure("store.password_file", err)
	}
	return text, nil
}

// keyring holds the projects' secrets and reads them again when their files
// change, so that a key can be rotated while serve runs.
type keyring struct {
	c    *config
	warn func(text string) // of secrets that cannot be read again; may be nil

	mu      sync.Mutex
	keys    map[uint32][]gate.Secret // the signing key first
	stamps  map[string]time.Time
	checked time.Time
}

var _ gate.Keys = (*keyring)(nil)

// secrets reads all secrets, or says which one cannot be had.
func (c *config) secrets() (*keyring, error) {
	k := &keyring{c: c}
	return k, k.read()
}

// reload reads every secret now.
func (k *keyring) reload() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read()
}

// read reads every secret again; on an error the old ones stay.
func (k *keyring) read() error {
	keys, stamps := map[uint32][]gate.Secret{}, map[string]time.Time{}
	for _, p := range k.c.Projects {
		id := strconv.FormatUint(uint64(p.ID), 10)
		path := p.SecretFile
		if path == "" {
			path = k.c.credential(id + ".secret")
		}
		current := k.c.env[envSecret+id]
		if current == "" && path == "" {
			return failf(exitConfig, "set secret_file of the project, or "+envSecret+id, "project %s has no secret; nothing was sent", id)
		}
		if current == "" {
			var err error
			if current, err = k.c.stampedSecret(path, stamps); err != nil {
				return secretFailure("secret of project "+id, err)
			}
		}
		keys[p.ID] = []gate.Secret{gate.NewSecret(current)}
		if p.PreviousSecretFile != "" {
			previous, err := k.c.stampedSecret(p.PreviousSecretFile, stamps)
			if errors.Is(err, fs.ErrNotExist) && k.keys != nil {
				continue // the rotation is over
			}
			if err != nil {
				return secretFailure("previous secret of project "+id, err)
			}
			keys[p.ID] = append(keys[p.ID], gate.NewSecret(previous))
		}
	}
	k.keys, k.stamps = keys, stamps
	return nil
}

func (c *config) stampedSecret(path string, stamps map[string]time.Time) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	stamps[path] = st.ModTime()
	return c.readSecret(path)
}

// Signing returns the key that a project's requests are signed with.
func (k *keyring) Signing(project uint32) (gate.Secret, bool) {
	keys := k.Accepted(project)
	if len(keys) == 0 {
		return gate.Secret{}, false
	}
	return keys[0], true
}

// Accepted returns the keys that a project's callbacks may be signed with.
func (k *keyring) Accepted(project uint32) []gate.Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.checked) >= time.Second {
		k.checked = now
		if k.changed() {
			// A file half written: the old keys stay until the next look.
			if err := k.read(); err != nil && k.warn != nil {
				k.warn(err.Error())
			}
		}
	}
	return k.keys[project]
}

func (k *keyring) changed() bool {
	for path, was := range k.stamps {
		if st, err := os.Stat(path); err != nil || !st.ModTime().Equal(was) {
			return true
		}
	}
	return false
}
