// Package seal keeps rows from whoever has a store and not its key: it seals their cells,
// and makes the keyed digests that a store finds ids and compares contents by. Every store
// with one key makes the same digests.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
	"sync"

	"masspay/payout"
	"masspay/store"
)

// Key is the store's own key: 32 random bytes, from which the keys of sealing
// and of the digests are derived. Without it no one can read a row.
type Key struct{ b [32]byte }

// NewKey makes a key.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k.b[:]) // never fails, by its contract
	return k
}

// Text is the key as it is in its file.
func (k Key) Text() string { return base64.StdEncoding.EncodeToString(k.b[:]) + "\n" }

func (k Key) String() string { return "[key]" }

// GoString hides the key from %#v.
func (k Key) GoString() string { return "[key]" }

// ParseKey reads the text of a key file.
func ParseKey(text string) (Key, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(b) != 32 {
		return Key{}, fmt.Errorf("not a store key: want 32 bytes in Base64, as masspay init writes them")
	}
	return Key{b: [32]byte(b)}, nil
}

// Sealer seals, opens and digests with one key. It is safe for concurrent use.
type Sealer struct {
	aead    cipher.AEAD
	digests sync.Pool // of *digester
	check   [16]byte
}

// New derives what a store needs from its key.
func New(k Key) (*Sealer, error) {
	derive := func(use string) ([]byte, error) { return hkdf.Key(sha256.New, k.b[:], nil, "masspay "+use, 32) }
	sealKey, err := derive("seal")
	if err != nil {
		return nil, err
	}
	digestKey, err := derive("digest")
	if err != nil {
		return nil, err
	}
	check, err := derive("check")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return nil, err
	}
	// Random nonces: good for 2^32 rows, which is more than a store holds.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	s := &Sealer{aead: aead, check: [16]byte(check)}
	s.digests.New = func() any { return &digester{mac: hmac.New(sha256.New, digestKey)} }
	return s, nil
}

// Check tells whether a key is a store's, and nothing else of it.
func (s *Sealer) Check() [16]byte { return s.check }

// digester makes digests with one key. It is kept, because a new one costs more
// than a digest.
type digester struct {
	mac hash.Hash
	buf []byte
}

// digest is that of what put appends.
func (s *Sealer) digest(put func(b []byte) []byte) payout.Digest {
	d, _ := s.digests.Get().(*digester)
	defer s.digests.Put(d)
	d.mac.Reset()
	d.buf = put(d.buf[:0])
	d.mac.Write(d.buf)
	d.buf = d.mac.Sum(d.buf[:0])
	return payout.Digest(d.buf[:16])
}

// DigestID is the digest that a payout's id is found by.
func (s *Sealer) DigestID(k payout.Key) payout.Digest {
	return s.digest(func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(append(b, 'i'), k.ProjectID), k.PaymentID...)
	})
}

// DigestContent is the digest of what a row asks for.
func (s *Sealer) DigestContent(method string, canonical []byte) payout.Digest {
	return s.digest(func(b []byte) []byte {
		return append(append(append(append(b, 'c'), method...), 0), canonical...)
	})
}

// bound is the additional data of a sealed row: a row moved to another place
// or another payout does not open.
func bound(k payout.Key, batch, index uint32) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 16+len(k.PaymentID)), batch)
	b = binary.BigEndian.AppendUint32(b, index)
	b = binary.BigEndian.AppendUint32(b, k.ProjectID)
	return append(b, k.PaymentID...)
}

// Seal seals the cells of a row of a batch. It opens for the same payout and place only.
func (s *Sealer) Seal(cells []string, k payout.Key, batch, index uint32) []byte {
	//nolint:gosec // this AEAD makes a random nonce itself and takes none
	return s.aead.Seal(nil, nil, encodeCells(cells), bound(k, batch, index))
}

// Open returns the cells of a row. What cannot be opened is store.ErrDamaged.
func (s *Sealer) Open(sealed []byte, k payout.Key, batch, index uint32) ([]string, error) {
	plain, err := s.aead.Open(nil, nil, sealed, bound(k, batch, index))
	if err != nil {
		return nil, fmt.Errorf("%w: row %d of batch number %d cannot be opened", store.ErrDamaged, index+1, batch)
	}
	cells, ok := decodeCells(plain)
	if !ok {
		return nil, fmt.Errorf("%w: row %d of batch number %d cannot be read", store.ErrDamaged, index+1, batch)
	}
	return cells, nil
}

// SealReport seals what a report that waits for its payout says of the customer, and
// its text, which may name him;
// it opens under no other key of the store.
func (s *Sealer) SealReport(key []byte, e payout.Event) []byte {
	//nolint:gosec // this AEAD makes a random nonce itself and takes none
	return s.aead.Seal(nil, nil, encodeCells([]string{e.Customer, e.Account, e.Message}), append([]byte("report"), key...))
}

// OpenReport fills in what SealReport has sealed.
func (s *Sealer) OpenReport(key []byte, e payout.Event, sealed []byte) (payout.Event, error) {
	plain, err := s.aead.Open(nil, nil, sealed, append([]byte("report"), key...))
	if err == nil {
		if cells, ok := decodeCells(plain); ok && (len(cells) == 2 || len(cells) == 3) {
			e.Customer, e.Account = cells[0], cells[1]
			if len(cells) == 3 {
				e.Message = cells[2] // an older masspay kept it in the clear
			}
			return e, nil
		}
	}
	return e, fmt.Errorf("%w: the waiting event %x cannot be opened", store.ErrDamaged, key)
}

func encodeCells(cells []string) []byte {
	size := 0
	for _, c := range cells {
		size += len(c) + 2
	}
	b := binary.AppendUvarint(make([]byte, 0, size+4), uint64(len(cells)))
	for _, c := range cells {
		b = binary.AppendUvarint(b, uint64(len(c)))
		b = append(b, c...)
	}
	return b
}

func decodeCells(b []byte) ([]string, bool) {
	text := string(b) // cells share one piece of memory
	at := 0
	next := func() (int, bool) {
		n, size := binary.Uvarint(b[at:])
		if size <= 0 || n > uint64(len(b)) {
			return 0, false
		}
		at += size
		return int(n), true
	}
	n, ok := next()
	if !ok {
		return nil, false
	}
	cells := make([]string, 0, n)
	for range n {
		size, ok := next()
		if !ok || size > len(b)-at {
			return nil, false
		}
		cells = append(cells, text[at:at+size])
		at += size
	}
	return cells, at == len(b)
}
