package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Callers that flood the server with anything but good callbacks neither keep
// good ones out nor make it use more memory than it says. What is measured is
// the whole process, the flood's connections included.
func TestFlood(t *testing.T) {
	a := &applier{}
	var log countingWriter
	c := &Callbacks{Keys: keys{}, Committer: NewCommitter(a), Log: slog.New(slog.NewJSONHandler(&log, nil))}
	committing, stopCommitting := context.WithCancel(context.Background())
	var committer sync.WaitGroup
	committer.Go(func() { c.Committer.Run(committing) })
	s, err := Open(t.Context(), "127.0.0.1:0", c)
	require.NoError(t, err)
	serving, stopServing := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(serving, s) }()
	address := s.Addr().String()

	flooding, calm := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var thrown atomic.Int64
	// Made once, so that what is measured is the server's and not the flood's.
	body := bytes.Repeat([]byte("x"), maxCallback)
	post := func(length int, body string) []byte {
		return fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", length, body)
	}
	silent, large := post(maxCallback, string(body[1:])), post(1<<30, "")
	headers := []byte("POST / HTTP/1.1\r\n" + strings.Repeat("X: "+string(body[:1000])+"\r\n", 100))
	// Few bytes that become many: one value after the other, deep down.
	wide := `{"project_id":1234,"signature":"x","a":` + strings.Repeat("[", 30) + strings.Repeat("1,", 20_000) + "1" + strings.Repeat("]", 30) + "}"
	var wrong []byte // malformed, deeply nested, wide, forged
	for _, b := range []string{"{", strings.Repeat("[", 60_000), wide, strings.Replace(signed("p1"), "success", "decline", 1)} {
		wrong = append(wrong, post(len(b), b)...)
	}
	attacks := []func(net.Conn){
		func(net.Conn) {}, // says nothing
		func(c net.Conn) { _, _ = c.Write([]byte("POST /callbacks HTTP/1.1\r\nHost: x\r\n")) },
		func(c net.Conn) { _, _ = c.Write(silent) }, // almost all of a body, and then nothing
		func(c net.Conn) {
			_, err := c.Write(large)
			for i := 0; i < 64 && err == nil; i++ {
				_, err = c.Write(body)
			}
		},
		func(c net.Conn) { _, _ = c.Write(headers) },
		func(c net.Conn) { _, _ = c.Write([]byte("\x16\x03\x01\x02\x00")) }, // TLS
		func(c net.Conn) { _, _ = c.Write(wrong) },
	}
	const attackers = maxConns + 400
	var dialer net.Dialer
	for i := range attackers {
		flood.Go(func() {
			for n := i; flooding.Err() == nil; n++ {
				conn, err := dialer.DialContext(flooding, "tcp", address)
				if err != nil {
					continue
				}
				thrown.Add(1)
				end := context.AfterFunc(flooding, func() { _ = conn.Close() })
				attacks[n%len(attacks)](conn)
				_, _ = io.Copy(io.Discard, conn) // holds its place until it is thrown out
				end()
				_ = conn.Close()
				select { // the tester's machine has to do the flooding as well
				case <-flooding.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	require.Eventually(t, func() bool { return thrown.Load() > attackers+200 }, time.Minute, 10*time.Millisecond)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	const good = 10
	most := uint64(0)
	for i := range good {
		answered := false
		// The platform repeats what is not answered; so does this.
		for try := 0; try < 20 && !answered; try++ {
			res, err := client.Post("http://"+address, "application/json", strings.NewReader(signed(fmt.Sprint("good-", i))))
			if err == nil {
				answered = res.StatusCode == http.StatusOK
				_ = res.Body.Close()
			}
		}
		require.True(t, answered, "good callback %d", i)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse+m.StackInuse)
	}
	calm()
	flood.Wait()
	stopServing()
	require.NoError(t, <-served)
	stopCommitting()
	committer.Wait()
	t.Logf("%d connections thrown at it, at most %d MiB in use, %d lines logged", thrown.Load(), most>>20, log.lines.Load())
	require.Less(t, most, uint64(300<<20))
	require.Less(t, log.lines.Load(), int64(5_000), "a flood must not fill the disk")
	require.GreaterOrEqual(t, a.seen(), good)
}

// countingWriter counts lines.
type countingWriter struct{ lines atomic.Int64 }

func (w *countingWriter) Write(p []byte) (int, error) { w.lines.Add(1); return len(p), nil }

// One whose request is under way keeps its place while silent ones come in
// crowds; slow ones lose theirs when they are the crowd.
func TestCrowd(t *testing.T) {
	t.Parallel()
	const most = 16
	conn := func() (net.Conn, func() bool) {
		a, b := net.Pipe()
		t.Cleanup(func() { _ = b.Close() })
		return a, func() bool {
			_ = a.SetReadDeadline(time.Now().Add(-time.Second))
			_, err := a.Read(make([]byte, 1))
			return errors.Is(err, os.ErrDeadlineExceeded) // not closed
		}
	}
	c := newCrowd(most)
	busy, lives := conn()
	c.changed(busy, http.StateNew)
	c.changed(busy, http.StateActive)
	for range 10 * most {
		silent, _ := conn()
		c.changed(silent, http.StateNew)
	}
	require.True(t, lives(), "silent ones went before it")
	require.Len(t, c.place, most)
	for range 2 * most {
		slow, _ := conn()
		c.changed(slow, http.StateNew)
		c.changed(slow, http.StateActive)
	}
	require.False(t, lives(), "it has taken longest of many")
	last, lives := conn()
	c.changed(last, http.StateNew)
	require.True(t, lives(), "who has just come may speak")
	c.changed(last, http.StateClosed)
	require.Len(t, c.place, most-1)
}
