//go:build unix

package gate

import (
	"errors"
	"net"
	"syscall"
)

// pulse tells whether a connection that waits for nothing is still open and
// silent: a gate that closed it, or sent what nobody asked for, would leave the
// next request in doubt.
type pulse struct {
	raw syscall.RawConn // nil: not of the network, as in tests
}

func newPulse(c net.Conn) (pulse, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return pulse{}, nil
	}
	raw, err := s.SyscallConn()
	return pulse{raw}, err
}

func (p pulse) beats() bool {
	if p.raw == nil {
		return true
	}
	silent := false
	err := p.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = errors.Is(err, syscall.EAGAIN)
		return true // do not wait
	})
	return err == nil && silent
}
