package bolt

// line is a row of a batch as the store keeps it.
type line struct {
	payout uint64 // 0: skipped
	line   uint64 // physical line in the file
	skip   string
	sealed []byte
}

func (l line) encode(key []byte) []byte {
	e := encoder{b: append(make([]byte, 0, 40+len(l.skip)+len(l.sealed)), rowVersion)}
	e.uint(l.payout)
	e.uint(l.line)
	e.string(l.skip)
	e.bytes(l.sealed)
	return e.sum(key)
}

func decodeLine(key, value []byte) (line, error) {
	d := newDecoder(key, value, rowVersion)
	l := line{payout: d.uint(), line: d.uint(), skip: d.string(), sealed: d.bytes()}
	return l, d.done("row", key)
}
