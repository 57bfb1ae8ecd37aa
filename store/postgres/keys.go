package postgres

import (
	"encoding/binary"

	"masspay/payout"
)

// be64 and be32 are the keys that checksums are made with, the same as in every store.
func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// uuids are digests as a column takes them.
func uuids(ids []payout.Digest) [][16]byte {
	all := make([][16]byte, len(ids))
	for i, id := range ids {
		all[i] = id
	}
	return all
}
