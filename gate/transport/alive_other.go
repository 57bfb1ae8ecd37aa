//go:build !unix

package transport

import "net"

// probe cannot look here; a connection that the gate has closed leaves the next request
// in doubt.
type probe struct{}

func newProbe(net.Conn) (probe, error) { return probe{}, nil }

func (probe) isAlive() bool { return true }
