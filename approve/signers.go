// Package approve is about who may release a file of payouts: the list of signers, their
// signatures, and how many of them it takes. Signatures and lists are those of OpenSSH
// (ssh-keygen -Y), and what this package accepts, ssh-keygen accepts, too.
package approve

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"masspay/payout"
)

// Signer is a line of a list of signers: a key of a person.
type Signer struct {
	Person     string
	Key        ssh.PublicKey
	Namespaces []string  // what it may sign; empty: everything
	From, To   time.Time // when it counts; zero: always

	line int
}

// Signers are the keys that count. The same person may have several.
type Signers []Signer

// ListError says what is wrong with a list of signers.
type ListError struct {
	Line int
	Why  string
}

func (e *ListError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Why) }

// person is what a line of the list may name: one person, and no pattern or list.
var person = regexp.MustCompile(`^[A-Za-z0-9._@+-]+$`)

// ParseSigners reads a list in the form of ssh-keygen's allowed_signers file. It is stricter:
// one literal name a line, without patterns and lists; no certificates; no key twice, under
// one name or two; and only options that it knows.
func ParseSigners(text []byte) (list Signers, err error) {
	for i, line := range bytes.Split(text, []byte{'\n'}) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		s, why := parseSigner(string(line))
		if why == "" {
			for _, before := range list {
				if bytes.Equal(before.Key.Marshal(), s.Key.Marshal()) {
					why = fmt.Sprintf("the key is on line %d, too: with one key, one person could sign as two", before.line)
				}
				if before.Person != s.Person && strings.EqualFold(before.Person, s.Person) {
					why = fmt.Sprintf("%s is %s on line %d: are they one person? Write them alike", s.Person, before.Person, before.line)
				}
			}
		}
		if why != "" {
			return nil, &ListError{i + 1, why}
		}
		s.line = i + 1
		list = append(list, s)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no signer in it")
	}
	return list, nil
}

func parseSigner(line string) (s Signer, why string) {
	name, rest, _ := strings.Cut(line, " ")
	if !person.MatchString(name) {
		return s, "want one name of letters, digits and ._@+-, and then the key: no patterns, lists or quotes"
	}
	s.Person = name
	rest = strings.TrimLeft(rest, " \t")
	key, _, options, after, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return s, "there is no public key in it that can be read"
	}
	if len(bytes.TrimSpace(after)) > 0 {
		return s, "there is more than one key in it"
	}
	if _, certificate := key.(*ssh.Certificate); certificate || strings.Contains(key.Type(), "-cert-") {
		return s, "it is a certificate: only keys count"
	}
	if why := weak(key); why != "" {
		return s, why
	}
	s.Key = key
	told := map[string]bool{}
	for _, o := range options {
		option, value, _ := strings.Cut(o, "=")
		option = strings.ToLower(option)
		value, quoted := unquoted(value)
		if told[option] {
			return s, option + " is there twice"
		}
		told[option] = true
		switch option {
		case "namespaces":
			if !quoted || value == "" {
				return s, `namespaces: want them in quotes, as namespaces="masspay-release"`
			}
			for n := range strings.SplitSeq(value, ",") {
				if n == "" || strings.ContainsAny(n, "*?!") {
					return s, "namespaces: want names without patterns"
				}
				s.Namespaces = append(s.Namespaces, n)
			}
		case "valid-after":
			if s.From, err = moment(value); err != nil || !quoted {
				return s, `valid-after: want a day in quotes, as valid-after="20261126Z"`
			}
		case "valid-before":
			if s.To, err = moment(value); err != nil || !quoted {
				return s, `valid-before: want a day in quotes, as valid-before="20261126Z"`
			}
		default:
			return s, fmt.Sprintf("the option %.20q is not known here", option)
		}
	}
	if !s.From.IsZero() && !s.To.IsZero() && !s.From.Before(s.To) {
		return s, "valid-before is not after valid-after: it would never count"
	}
	return s, ""
}

// weak says why a key is no good for this, "" where it is.
func weak(key ssh.PublicKey) string {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return ""
	case ssh.KeyAlgoRSA:
		if c, ok := key.(ssh.CryptoPublicKey); ok {
			if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() >= 2048 {
				return ""
			}
		}
		return "an RSA key of fewer than 2,048 bits"
	}
	return fmt.Sprintf("keys of the type %.40q do not count", key.Type())
}

func unquoted(value string) (text string, quoted bool) {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value, false
	}
	return value[1 : len(value)-1], true
}

// moment reads a time as OpenSSH writes it, in UTC with a Z behind it, else in this machine's
// time zone.
func moment(text string) (time.Time, error) {
	zone := time.Local
	if t, utc := strings.CutSuffix(text, "Z"); utc {
		text, zone = t, time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(text) == len(layout) {
			return time.ParseInLocation(layout, text, zone)
		}
	}
	return time.Time{}, errors.New("not a time")
}

// mayNow says why a signer's signature of a role does not count at a time, "" where it does.
func (s *Signer) mayNow(role payout.Role, now time.Time) string {
	switch {
	case len(s.Namespaces) > 0 && !slices.Contains(s.Namespaces, role.Namespace()):
		return fmt.Sprintf("%s may not %s by the list of signers", s.Person, role)
	case !s.From.IsZero() && now.Before(s.From):
		return fmt.Sprintf("the key of %s does not count before %s", s.Person, s.From.UTC().Format(time.RFC3339))
	case !s.To.IsZero() && !now.Before(s.To):
		return fmt.Sprintf("the key of %s does not count since %s", s.Person, s.To.UTC().Format(time.RFC3339))
	}
	return ""
}

// Of are the keys of a person.
func (l Signers) Of(person string) (keys Signers) {
	for _, s := range l {
		if s.Person == person {
			keys = append(keys, s)
		}
	}
	return keys
}
