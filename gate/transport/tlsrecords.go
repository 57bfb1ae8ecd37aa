package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// tlsRecords lets TLS read a connection record by record. tls.Conn reads as much as
// there is, and what it has read of a record that was not asked for can be seen from
// neither side of it; here it stays where it can.
type tlsRecords struct {
	net.Conn
	in   *bufio.Reader
	left int // bytes of the record under way that TLS has not got yet
}

// recordHeader is the size of a record's header, of which the last two bytes are the
// length of the rest (RFC 8446, 5.1).
const recordHeader = 5

func newTLSRecords(c net.Conn) *tlsRecords { return &tlsRecords{Conn: c, in: bufio.NewReader(c)} }

func (r *tlsRecords) Read(p []byte) (int, error) {
	if r.left == 0 {
		header, err := r.in.Peek(recordHeader)
		if errors.Is(err, io.EOF) && len(header) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		r.left = recordHeader + int(binary.BigEndian.Uint16(header[recordHeader-2:]))
	}
	n, err := r.in.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// between reports whether all that came has been handed on, in whole records.
func (r *tlsRecords) between() bool { return r.left == 0 && r.in.Buffered() == 0 }
