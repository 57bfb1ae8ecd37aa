// Package web is HTTP in: the gate's callbacks on a public listener, and what
// is for people on a private one. No request that comes in here can start a
// payout; the package has no way to send one.
package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
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
// not a line in a log. It serves nothing yet.
func Open(ctx context.Context, address string, h http.Handler) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
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
