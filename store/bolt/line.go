package bolt

import "masspay/store/codec"

// line is a row of a batch as the store keeps it.
type line struct {
	payout uint64 // 0: skipped
	line   uint64 // physical line in the file
	skip   string
	sealed []byte
}

func (l line) encode(key []byte) []byte {
	e := codec.Encoder{B: append(make([]byte, 0, 40+len(l.skip)+len(l.sealed)), codec.RowVersion)}
	e.Uint(l.payout)
	e.Uint(l.line)
	e.String(l.skip)
	e.Bytes(l.sealed)
	return e.Sum(key)
}

func decodeLine(key, value []byte) (line, error) {
	d := codec.NewDecoder(key, value, codec.RowVersion)
	l := line{payout: d.Uint(), line: d.Uint(), skip: d.String(), sealed: d.Bytes()}
	return l, d.Done("row", key)
}
