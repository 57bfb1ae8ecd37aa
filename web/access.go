package web

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Access says who may see the pages.
type Access struct {
	// Everyone who can connect may: it is a Unix socket, and its permissions decide.
	Everyone bool

	// Tokens let in who knows one: as the password of HTTP Basic, or as a Bearer. nil: none do.
	Tokens *Tokens

	// Certificates that the server has verified are enough.
	Certificates bool
}

// none reports whether nobody can be let in.
func (a Access) none() bool { return !a.Everyone && a.Tokens == nil && !a.Certificates }

// guard lets in who may see the pages.
func (a Access) guard(next http.Handler, log *slog.Logger) http.Handler {
	wrong := &seldom{most: 10}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, given := a.who(r)
		if who != "" {
			if s, ok := w.(*statusWriter); ok {
				s.who = who
			}
			next.ServeHTTP(w, r)
			return
		}
		if given && wrong.now(time.Now()) {
			log.Warn("a wrong token", "from", r.RemoteAddr)
		}
		if a.none() {
			http.Error(w, "pages are off: admin.tokens_file is empty.\nA token for yourself: masspay token NAME, its line into a file, the file's name into admin.tokens_file.\n", http.StatusForbidden)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="masspay", charset="UTF-8"`)
		http.Error(w, "user and token, as masspay token NAME printed them\n", http.StatusUnauthorized)
	})
}

// who a request is from, empty for nobody; given says that it had a token.
func (a Access) who(r *http.Request) (name string, given bool) {
	if a.Everyone {
		return "socket", false
	}
	if a.Certificates && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return "certificate " + r.TLS.PeerCertificates[0].Subject.CommonName, false
	}
	if a.Tokens == nil {
		return "", false
	}
	if user, token, ok := r.BasicAuth(); ok {
		return a.Tokens.who(user, token), true
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return a.Tokens.who("", token), true
	}
	return "", false
}

// Tokens are those of a file, whose lines are NAME:SHA256. The file is read again when it
// changes; one that cannot be read lets nobody in.
type Tokens struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	read    fs.FileInfo
	entries []tokenEntry
}

type tokenEntry struct {
	name string
	hash [sha256.Size]byte
}

// OpenTokens reads a file of tokens.
func OpenTokens(path string, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{path: path, log: log}
	return t, t.refresh()
}

// NewToken makes a token for a person, and the line of it for the file: 32 random bytes, of
// which the file keeps the SHA-256.
func NewToken(name string) (token, line string, err error) {
	if !goodName(name) {
		return "", "", fmt.Errorf("%q is no name for a token: want letters, digits, dots and dashes", name)
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	token = base64.RawURLEncoding.EncodeToString(b)
	sum := sha256.Sum256([]byte(token))
	return token, name + ":" + hex.EncodeToString(sum[:]), nil
}

func goodName(name string) bool {
	const longest = 64
	return name != "" && len(name) <= longest && !strings.ContainsFunc(name, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("._-@", c)
	})
}

// refresh reads the file again if it is another one.
func (t *Tokens) refresh() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	is, err := os.Stat(t.path)
	if err == nil && t.read != nil && os.SameFile(is, t.read) && is.ModTime().Equal(t.read.ModTime()) && is.Size() == t.read.Size() {
		return nil
	}
	t.entries, t.read = nil, nil
	if err != nil {
		return err
	}
	entries, err := readTokens(t.path)
	if err != nil {
		return err
	}
	t.entries, t.read = entries, is
	return nil
}

func readTokens(path string) (all []tokenEntry, err error) {
	f, err := os.Open(path) //nolint:gosec // the file that the configuration names
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, sum, _ := strings.Cut(line, ":")
		hash, err := hex.DecodeString(sum)
		if err != nil || len(hash) != sha256.Size || !goodName(name) {
			return nil, fmt.Errorf("%s, line %d: want NAME:SHA256, as masspay token NAME prints it", path, n)
		}
		all = append(all, tokenEntry{name, [sha256.Size]byte(hash)})
	}
	return all, lines.Err()
}

// who has this token, under this name where one is given; empty: nobody.
func (t *Tokens) who(name, token string) (who string) {
	if err := t.refresh(); err != nil {
		t.log.Error("nobody is let in", "because", err.Error())
	}
	sum := sha256.Sum256([]byte(token))
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.entries {
		if subtle.ConstantTimeCompare(sum[:], e.hash[:]) == 1 && (name == "" || name == e.name) {
			who = e.name
		}
	}
	return who
}

// seldom lets through so many a second.
type seldom struct {
	most int

	mu    sync.Mutex
	since time.Time
	n     int
}

func (s *seldom) now(at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.Sub(s.since) >= time.Second {
		s.since, s.n = at, 0
	}
	s.n++
	return s.n <= s.most
}
