package bolt

import (
	"encoding/binary"
	"time"
)

// be64 and its kin are key parts.
func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func pair32(a, b uint32) []byte { return append32(nil, a, b) }

func pair64(a, b uint64) []byte { return append64(nil, a, b) }

func append32(key []byte, a, b uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(key, a), b)
}

func append64(key []byte, a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(key, a), b)
}

// number reads a key or a value of 8 bytes; anything else is 0.
func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// dueKey sorts by time.
func dueKey(at time.Time, n uint64) []byte { return appendDue(nil, at, n) }

func appendDue(key []byte, at time.Time, n uint64) []byte {
	return append64(key, uint64(at.UnixMicro()), n)
}
