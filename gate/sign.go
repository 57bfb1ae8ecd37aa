package gate

import (
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"log/slog"
	"slices"
	"sync"
)

// ErrSignature says that a body carries no valid signature of its project: none,
// one that is not 88 characters long, or one that does not match. Such a body changes
// nothing.
var ErrSignature = errors.New("signature does not match")

// Secret is a project's signing key. It prints as "[secret]" wherever it is
// formatted, logged or marshalled.
type Secret struct{ macs *sync.Pool } // of hash.Hash, keyed; nil: there is no key

// NewSecret keeps a key. Its UTF-8 bytes are the HMAC key; nothing is trimmed.
func NewSecret(key string) Secret {
	if key == "" {
		return Secret{}
	}
	return Secret{&sync.Pool{New: func() any { return hmac.New(sha512.New, []byte(key)) }}}
}

// IsZero reports whether there is no key.
func (s Secret) IsZero() bool { return s.macs == nil }

const hidden = "[secret]"

func (s Secret) String() string { return hidden }

// GoString hides the key from %#v.
func (s Secret) GoString() string { return hidden }

// LogValue hides the key from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the key from JSON, YAML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// signatureSize is that of a signature: 64 bytes in Base64.
const signatureSize = 88

// Sign returns the signature of a canonical string: HMAC-SHA-512 in standard
// Base64 with padding, always 88 characters. Without a key there is none.
func (s Secret) Sign(canonical string) string { return string(s.sign(nil, []byte(canonical))) }

// sign appends a signature to b.
func (s Secret) sign(b, canonical []byte) []byte {
	if s.IsZero() {
		return b
	}
	mac, _ := s.macs.Get().(hash.Hash)
	defer s.macs.Put(mac)
	mac.Reset()
	mac.Write(canonical)
	var sum [sha512.Size]byte
	return base64.StdEncoding.AppendEncode(b, mac.Sum(sum[:0]))
}

// Keys are the signing keys of the configured projects.
type Keys interface {
	// Signing returns the key that a project's requests are signed with.
	Signing(project uint32) (Secret, bool)
	// Accepted returns the keys that a project's callbacks may be signed with:
	// one, or two while a key is being rotated; none for an unknown project.
	Accepted(project uint32) []Secret
}

// verify checks a document's signature against every key and every known
// order, in constant time for each. A signature of another length is refused before
// anything is sorted or computed, and no canonical string is tried twice; both depend
// on nothing that the sender does not know.
func (d *document) verify(keys []Secret) error {
	if len(d.signature) != signatureSize {
		return ErrSignature
	}
	given := []byte(d.signature)
	match := 0
	var made [signatureSize]byte
	var canonical []byte
	var tried [len(orders)][]*leaf
	for i, order := range orders {
		tried[i] = d.sorted(order)
		if slices.ContainsFunc(tried[:i], func(t []*leaf) bool { return slices.Equal(t, tried[i]) }) {
			continue
		}
		canonical = appendLines(canonical[:0], tried[i])
		for _, key := range keys {
			if key.IsZero() {
				continue
			}
			match |= subtle.ConstantTimeCompare(given, key.sign(made[:0], canonical))
		}
		if match == 1 {
			return nil
		}
	}
	return ErrSignature
}
