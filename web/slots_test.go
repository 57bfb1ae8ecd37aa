package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// fullSlots has no slot free: the test holds them all.
func fullSlots(t require.TestingT) *parseSlots {
	s := &parseSlots{}
	for range maxParsing {
		require.NoError(t, s.acquire(context.Background(), netip.Addr{}))
	}
	return s
}

// requireEmpty looks whether all slots are free and nothing of those that waited is
// kept.
func requireEmpty(t require.TestingT, s *parseSlots) {
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Zero(t, s.held, "slots held")
	require.Empty(t, s.queues, "queues kept")
	require.Zero(t, s.turns.Len(), "turns kept")
}

// waiting is how many requests of how many sources wait.
func (s *parseSlots) waiting() (requests, sources int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		requests += q.waiters.Len()
	}
	return requests, s.turns.Len()
}

func isGranted(w *waiter) bool {
	select {
	case <-w.granted:
		return true
	default:
		return false
	}
}

func TestSlotsGoRoundTheSources(t *testing.T) {
	t.Parallel()
	many := slices.Repeat([]string{"10.0.0.1"}, 700)
	for _, tt := range []struct {
		name string
		wait []string // sources, in the order in which their requests come
		want []int    // which of them are granted, in order; only the first ones
	}{
		{"one source: first come, first served", []string{"10.0.0.1", "10.0.0.1", "10.0.0.1"}, []int{0, 1, 2}},
		{"in turn", []string{"10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.2"}, []int{0, 3, 4, 1, 5, 2}},
		{"hundreds of another source are waiting", append(many[:700:700], "10.0.0.2"), []int{0, 700, 1, 2, 3}},
		{"a hundred sources are waiting", append(sources(100), "10.9.0.1"), []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"one host's addresses of IPv6 are one source", []string{"2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:3", "2001:db8:0:1::1"}, []int{0, 3, 1, 2}},
		{"IPv4 in IPv6 is IPv4", []string{"::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2", "::ffff:10.0.0.2"}, []int{0, 2, 1, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := fullSlots(t)
			var waiters []*waiter
			for _, ip := range tt.wait {
				waiters = append(waiters, s.wait(sourceOf(netip.MustParseAddr(ip))))
			}
			for turn, want := range tt.want {
				s.release()
				require.True(t, isGranted(waiters[want]), "turn %d", turn)
				waiters[want].granted = nil // never again
				require.False(t, slices.ContainsFunc(waiters, isGranted), "two at turn %d", turn)
			}
			for range len(tt.wait) - len(tt.want) + maxParsing {
				s.release()
			}
			requireEmpty(t, s)
		})
	}
}

// sources are n addresses.
func sources(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("10.0.%d.%d", i/200, 1+i%200))
	}
	return all
}

// A source that comes back at once with every request that was answered goes to the
// end of the line each time.
func TestSlotsOfACrowdThatComesBack(t *testing.T) {
	t.Parallel()
	s := fullSlots(t)
	crowd := netip.MustParseAddr("10.0.0.1")
	for range 500 {
		s.wait(crowd)
	}
	for i := range 200 {
		w := s.wait(netip.MustParseAddr("10.0.0.2"))
		s.wait(crowd)
		s.release()
		if !isGranted(w) {
			s.wait(crowd)
			s.release()
		}
		require.True(t, isGranted(w), "request %d", i)
	}
	require.Equal(t, uint64(1), s.longest)
}

// Whenever a context ends, its request leaves, and its slot goes to the next.
func TestSlotsWhenAContextEnds(t *testing.T) {
	t.Parallel()
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	// acquire waits for a slot; done is what came of it.
	acquire := func(s *parseSlots, ip netip.Addr) (end context.CancelFunc, done chan error) {
		ctx, end := context.WithCancel(context.Background())
		done = make(chan error, 1)
		go func() { done <- s.acquire(ctx, ip) }()
		synctest.Wait()
		return end, done
	}
	for _, tt := range []struct {
		name    string
		end     func(s *parseSlots, end context.CancelFunc)
		granted bool // all the same
	}{
		{"while it waits", func(s *parseSlots, end context.CancelFunc) {
			end()
			synctest.Wait()
			s.release()
		}, false},
		{"while it waits, and it is granted before it has left", func(s *parseSlots, end context.CancelFunc) {
			s.mu.Lock()
			end() // it wakes up, and cannot go on
			s.pass()
			s.mu.Unlock()
		}, false},
		{"when it was granted", func(s *parseSlots, end context.CancelFunc) {
			s.release()
			synctest.Wait()
			end()
		}, true},
	} {
		for _, other := range []netip.Addr{a, b} {
			t.Run(fmt.Sprint(tt.name, ", and one of ", other, " waits"), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := fullSlots(t)
					end, done := acquire(s, a)
					endNext, next := acquire(s, other)
					defer endNext()
					tt.end(s, end)
					synctest.Wait()
					if tt.granted {
						require.NoError(t, <-done)
						require.Empty(t, next, "it has the slot")
						s.release()
						synctest.Wait()
					} else {
						require.ErrorIs(t, <-done, context.Canceled)
					}
					require.Len(t, next, 1, "the slot is lost")
					require.NoError(t, <-next)
					require.Equal(t, maxParsing, s.held)
					for range maxParsing {
						s.release()
					}
					requireEmpty(t, s)
				})
			})
		}
	}
	t.Run("before it comes", func(t *testing.T) {
		t.Parallel()
		s := &parseSlots{}
		ctx, end := context.WithCancel(t.Context())
		end()
		require.ErrorIs(t, s.acquire(ctx, a), context.Canceled)
		requireEmpty(t, s)
	})
}

// Whatever comes, gives up and is released, the slots do what a plain model of them
// does: slices that are searched.
func TestSlotsAgainstAModel(t *testing.T) {
	t.Parallel()
	type request struct {
		*waiter
		source byte
	}
	rapid.Check(t, func(t *rapid.T) {
		s := &parseSlots{}
		held := 0
		var turns []byte // sources
		waiting := map[byte][]request{}
		var granted []request // and it does not know yet
		remove := func(source byte, i int) {
			waiting[source] = slices.Delete(waiting[source], i, i+1)
			if len(waiting[source]) == 0 {
				delete(waiting, source)
				turns = slices.DeleteFunc(turns, func(other byte) bool { return other == source })
			}
		}
		pass := func() {
			if len(turns) == 0 {
				held--
				return
			}
			source := turns[0]
			turns = append(turns[1:], source)
			granted = append(granted, waiting[source][0])
			remove(source, 0)
		}
		come := func(t *rapid.T) {
			source := rapid.Byte().Draw(t, "source") % 6
			ip := netip.AddrFrom4([4]byte{10, 0, 0, source})
			if held < maxParsing {
				require.NoError(t, s.acquire(context.Background(), ip))
				held++
				return
			}
			if !slices.Contains(turns, source) {
				turns = append(turns, source)
			}
			waiting[source] = append(waiting[source], request{s.wait(ip), source})
		}
		t.Repeat(map[string]func(*rapid.T){
			"come": come, "come again": come, "and again": come,
			"release": func(t *rapid.T) {
				if held == 0 {
					t.Skip("no slot is held")
				}
				s.release()
				pass()
			},
			"give up": func(t *rapid.T) {
				if len(turns) == 0 {
					t.Skip("nothing waits")
				}
				source := rapid.SampledFrom(turns).Draw(t, "of")
				i := rapid.IntRange(0, len(waiting[source])-1).Draw(t, "which")
				s.giveUp(waiting[source][i].waiter)
				remove(source, i)
			},
			"give up too late": func(t *rapid.T) {
				if len(granted) == 0 {
					t.Skip("none was granted")
				}
				i := rapid.IntRange(0, len(granted)-1).Draw(t, "which")
				s.giveUp(granted[i].waiter)
				granted = slices.Delete(granted, i, i+1)
				pass()
			},
			"": func(t *rapid.T) {
				require.Equal(t, held, s.held)
				n := 0
				for _, requests := range waiting {
					n += len(requests)
					require.False(t, slices.ContainsFunc(requests, func(r request) bool { return isGranted(r.waiter) }), "not its turn yet")
				}
				require.False(t, slices.ContainsFunc(granted, func(r request) bool { return !isGranted(r.waiter) }), "it was its turn")
				requests, sources := s.waiting()
				require.Equal(t, n, requests)
				require.Equal(t, len(turns), sources)
				require.True(t, n == 0 || held == maxParsing, "a slot is free and some wait")
			},
		})
		for held > 0 {
			s.release()
			pass()
		}
		requireEmpty(t, s)
	})
}

// Hundreds at a time that come, work, and give up at any moment: never more than
// eight hold a slot, and in the end all slots are there.
func TestSlotsUnderLoad(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := &parseSlots{}
	var holding, most, served, gone atomic.Int64
	var all sync.WaitGroup
	for i := range uint64(400) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, i))
			ip := netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(20))})
			for range 100 {
				ctx, end := context.WithCancel(context.Background())
				if r.IntN(3) > 0 {
					go end()
				}
				err := s.acquire(ctx, ip)
				if err == nil {
					n := holding.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					served.Add(1)
					for range r.IntN(20) {
						runtime.Gosched()
					}
					holding.Add(-1)
					s.release()
				} else if gone.Add(1); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				end()
			}
		})
	}
	all.Wait()
	t.Logf("%d served, %d gave up, at most %d at a time", served.Load(), gone.Load(), most.Load())
	require.LessOrEqual(t, most.Load(), int64(maxParsing))
	requireEmpty(t, s)
	require.Less(t, s.longest, uint64(20), "there are 20 sources")
}

// forged is a callback of 64 KiB that costs as much as one can: as many values as are
// taken, in an order of its own for each of the four, and a signature that has to be
// computed to be refused.
func forged() string {
	var b strings.Builder
	b.WriteString(`{"project_id":1234,"signature":"` + strings.Repeat("A", 86) + `==","payment":{"id":"p1"}`)
	for i := range 490 {
		name := fmt.Sprint(i*7919%490, []string{":", "-", "", "x0"}[i%4])
		fmt.Fprintf(&b, `,"%s":"%s"`, name, strings.Repeat("v", 120-len(name)))
	}
	b.WriteString("}")
	return b.String() + strings.Repeat(" ", maxCallback-b.Len())
}

// 800 connections that forge without pause do not keep a good callback of another
// source waiting: it is granted a slot after at most one turn of every other source.
// Turns are counted, not time, which is the machine's.
func TestForgersTakeTurns(t *testing.T) {
	const forgers, posts, good = 800, 20, 3
	if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.1.1:0"); err != nil {
		t.Skipf("needs all addresses of 127.0.0.0/8, as Linux has them: %v", err)
	} else {
		require.NoError(t, l.Close())
	}
	body := forged()
	require.Len(t, body, maxCallback)
	request := fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for _, sources := range []int{1, 100} {
		t.Run(fmt.Sprint(sources, " sources"), func(t *testing.T) {
			a := &applier{}
			c := &Callbacks{Keys: keys{}, Committer: NewCommitter(a), Log: slog.New(slog.DiscardHandler)}
			committing, stopCommitting := context.WithCancel(context.Background())
			var committer sync.WaitGroup
			committer.Go(func() { c.Committer.Run(committing) })
			s, err := Open(t.Context(), "127.0.0.1:0", c)
			require.NoError(t, err)
			serving, stopServing := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- Serve(serving, s) }()
			address := s.Addr().String()

			// All slots are held until all forgers wait, and the first good callback.
			for range maxParsing {
				require.NoError(t, c.parsing.acquire(t.Context(), netip.Addr{}))
			}
			flooding, calm := context.WithCancel(t.Context())
			var flood sync.WaitGroup
			var refused, accepted atomic.Int64
			forge := func(conn net.Conn) {
				defer func() { _ = conn.Close() }()
				defer context.AfterFunc(flooding, func() { _ = conn.Close() })()
				answers := bufio.NewReader(conn)
				for range posts {
					_, err := conn.Write(request)
					if err != nil {
						return
					}
					res, err := http.ReadResponse(answers, nil)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					if refused.Add(1); res.StatusCode != http.StatusForbidden {
						accepted.Add(1)
					}
				}
			}
			for i := range forgers {
				ip := net.IPv4(127, 0, 1, byte(1+i%sources))
				conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext(flooding, "tcp", address)
				require.NoError(t, err)
				flood.Go(func() { forge(conn) })
			}
			wait := func(requests int) {
				require.Eventually(t, func() bool { n, _ := c.parsing.waiting(); return n == requests }, time.Minute, time.Millisecond)
			}
			wait(forgers)
			client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
			post := func(i int) (int, error) {
				res, err := client.Post("http://"+address, "application/json", strings.NewReader(signed(fmt.Sprint("good-", i))))
				if err != nil {
					return 0, err
				}
				return res.StatusCode, res.Body.Close()
			}
			first := make(chan int, 1)
			go func() { code, _ := post(0); first <- code }()
			wait(forgers + 1)
			start := time.Now()
			for range maxParsing {
				c.parsing.release()
			}
			require.Equal(t, http.StatusOK, <-first)
			took := []time.Duration{time.Since(start)}
			for i := 1; i < good; i++ {
				start := time.Now()
				code, err := post(i)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, code)
				took = append(took, time.Since(start))
			}
			calm()
			flood.Wait()
			stopServing()
			require.NoError(t, <-served)
			stopCommitting()
			committer.Wait()
			t.Logf("good callbacks took %v beside %d forged ones; at most %d turns of others", took, refused.Load(), c.parsing.longest)
			require.LessOrEqual(t, c.parsing.longest, uint64(sources), "turns of others between two of a source")
			require.NotZero(t, c.parsing.longest, "no one waited, and this shows nothing")
			require.Zero(t, accepted.Load())
			require.Equal(t, good, a.seen())
			requireEmpty(t, &c.parsing)
		})
	}
}
