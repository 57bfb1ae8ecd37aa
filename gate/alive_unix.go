//go:build unix

package gate

import (
	"errors"
	"net"
	"syscall"
)

// alive reports whether a connection that waits for nothing is still open and
// silent: a gate that closed it, or sent what nobody asked for, would leave the
// next request in doubt.
func alive(c net.Conn) bool {
	s, ok := bare(c).(syscall.Conn)
	if !ok {
		return true // not of the network, as in tests
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = errors.Is(err, syscall.EAGAIN)
		return true // do not wait
	})
	return err == nil && silent
}
