package gate

import (
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"log/slog"
)

// ErrSignature says that a body carries no valid signature of its project. A
// body without one changes nothing.
var ErrSignature = errors.New("signature does not match")

// Secret is a project's signing key. It prints as "[secret]" wherever it is
// formatted, logged or marshalled.
type Secret struct{ key string }

// NewSecret keeps a key. Its UTF-8 bytes are the HMAC key; nothing is trimmed.
func NewSecret(key string) Secret { return Secret{key: key} }

// IsZero reports whether there is no key.
func (s Secret) IsZero() bool { return s.key == "" }

const hidden = "[secret]"

func (s Secret) String() string { return hidden }

// GoString hides the key from %#v.
func (s Secret) GoString() string { return hidden }

// LogValue hides the key from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the key from JSON, YAML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Sign returns the signature of a canonical string: HMAC-SHA-512 in standard
// Base64 with padding, always 88 characters.
func (s Secret) Sign(canonical string) string {
	mac := hmac.New(sha512.New, []byte(s.key))
	mac.Write([]byte(canonical))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
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
// order, in constant time for each.
func (d *document) verify(keys []Secret) error {
	if d.signature == "" {
		return ErrSignature
	}
	given := []byte(d.signature)
	match := 0
	for _, order := range orders {
		canonical := d.canonical(order)
		for _, key := range keys {
			if key.IsZero() {
				continue
			}
			match |= subtle.ConstantTimeCompare(given, []byte(key.Sign(canonical)))
		}
		if match == 1 {
			return nil
		}
	}
	return ErrSignature
}
