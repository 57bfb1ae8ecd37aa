//go:build unix

package transport

import (
	"errors"
	"net"
	"syscall"
)

// probe tells whether a connection that waits for nothing is still open and
// silent: a gate that closed it, or sent what was not asked for, would leave the
// next request in doubt.
type probe struct {
	raw syscall.RawConn // nil: not of the network, as in tests
}

func newProbe(c net.Conn) (probe, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return probe{}, nil
	}
	raw, err := s.SyscallConn()
	return probe{raw}, err
}

func (p probe) isAlive() bool {
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
