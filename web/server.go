// Package web is HTTP in: the gate's callbacks on a public listener, and what
// is for people on a private one. No request that comes in here can start a
// payout; the package has no way to send one.
package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Server serves one handler on one address.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// The limits of a connection, and of their number. The platform's callbacks are
// some kilobytes, and it repeats what is not answered. Together they bound the
// memory that callers can make a server use: 1,024 connections of 64 KiB of body
// and some 40 KiB of buffers, some 200 MiB with what the garbage collector leaves.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	closeTimeout  = 20 * time.Second
	maxConns      = 1024
)

// Open listens before it returns, so that a port that is taken is an error and
// not a line in a log. It serves nothing yet. An address unix:PATH is a Unix socket, which
// its owner's group may use.
func Open(ctx context.Context, address string, h http.Handler) (*Server, error) {
	l, err := listenOn(ctx, address)
	if err != nil {
		return nil, err
	}
	c := newCrowd(maxConns)
	return &Server{listener: l, http: &http.Server{
		Handler:           h,
		ConnState:         c.changed,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}}, nil
}

// listenOn listens on TCP or on a Unix socket.
func listenOn(ctx context.Context, address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	if err := clearSocket(ctx, path); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	const ownerAndGroup = 0o660
	if err := os.Chmod(path, ownerAndGroup); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// clearSocket removes a socket that a process left behind which is gone; of one that lives
// it says that the address is taken.
func clearSocket(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return nil //nolint:nilerr // there is none; listening says what else is wrong
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(&net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: syscall.EADDRINUSE}, c.Close())
	}
	return os.Remove(path)
}

// Encrypt makes the server speak TLS. It is called before Serve.
func (s *Server) Encrypt(c *tls.Config) { s.listener = tls.NewListener(s.listener, c) }

// TLS reads a certificate and its key, and, where one is named, the certificates of those
// who sign its clients'. Clients without one are not refused: Access decides.
func TLS(certFile, keyFile, clientCAFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if clientCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(clientCAFile) //nolint:gosec // the file that the configuration names
	if err != nil {
		return nil, err
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", clientCAFile)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	return c, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers until the context ends, and then until what is under way is
// answered, at most 20 seconds.
func Serve(ctx context.Context, servers ...*Server) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, s := range servers {
		g.Go(func() error {
			if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("listener %s: %w", s.listener.Addr(), err)
			}
			return nil
		})
		g.Go(func() error {
			<-gctx.Done()
			closing, cancel := context.WithTimeout(context.WithoutCancel(gctx), closeTimeout)
			defer cancel()
			return s.http.Shutdown(closing)
		})
	}
	return g.Wait()
}
