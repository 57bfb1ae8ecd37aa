package web

import (
	"container/list"
	"context"
	"net/netip"
	"runtime"
	"sync"
)

// maxParsing bounds how many bodies are parsed and verified at a time: more would
// not be done sooner, and a forged one may take a megabyte until it is found out.
const maxParsing = 8

// parseSlots are the maxParsing slots in which bodies are parsed and verified. Who
// finds none free waits in the queue of its source, and the sources that wait are
// granted one slot each in turn (round robin). So however many requests a source has
// waiting, a request of another source that has none waits for at most one grant to
// each source that waits already. Every operation takes constant time, what waits is
// bounded by the connections that the server takes, and no goroutine runs for it.
// The zero value is ready to use.
type parseSlots struct {
	mu     sync.Mutex
	held   int
	queues map[netip.Addr]*sourceQueue // of the sources that wait
	turns  list.List                   // the same *sourceQueue, the next one first

	granted uint64 // slots, since the start
	longest uint64 // grants to others between two turns of a source that waited
}

// sourceQueue holds what waits of one source: at least one, or it is not kept.
type sourceQueue struct {
	source  netip.Addr
	waiters list.List     // of *waiter, first come first served
	turn    *list.Element // in parseSlots.turns
	since   uint64        // parseSlots.granted when it went to the end of turns
}

// waiter is one request that waits.
type waiter struct {
	queue   *sourceQueue
	at      *list.Element // in queue.waiters; nil once it was granted a slot
	granted chan struct{} // closed then
}

// sourceOf is what counts as one source: an IPv4 address, or the /64 of an IPv6
// address, since one host has all of that.
func sourceOf(ip netip.Addr) netip.Addr {
	if ip = ip.Unmap(); !ip.Is6() {
		return ip
	}
	network, _ := ip.Prefix(64)
	return network.Addr()
}

// acquire blocks until the caller holds a slot, which it must release, or until the
// context ends. With an error, always the context's, it holds none.
func (s *parseSlots) acquire(ctx context.Context, ip netip.Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.held < maxParsing { // so the queue is empty
		s.held++
		s.granted++
		s.mu.Unlock()
		return nil
	}
	w := s.wait(sourceOf(ip))
	s.mu.Unlock()
	select {
	case <-w.granted:
		// Back into Go's own queue: who is woken by who releases goes before all that
		// is ready, and eight that hand their slots on would keep the processors from
		// reading what has just come in for half a second.
		runtime.Gosched()
		return nil
	case <-ctx.Done():
		s.giveUp(w)
		return ctx.Err()
	}
}

// release gives a slot back, to the next that waits.
func (s *parseSlots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass()
}

// wait puts a request into the queue of its source.
func (s *parseSlots) wait(source netip.Addr) *waiter {
	q := s.queues[source]
	if q == nil {
		if s.queues == nil {
			s.queues = map[netip.Addr]*sourceQueue{}
		}
		q = &sourceQueue{source: source, since: s.granted}
		q.turn = s.turns.PushBack(q)
		s.queues[source] = q
	}
	w := &waiter{queue: q, granted: make(chan struct{})}
	w.at = q.waiters.PushBack(w)
	return w
}

// giveUp ends the waiting of a request whose context ended.
func (s *parseSlots) giveUp(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.at == nil {
		s.pass() // granted meanwhile: the slot must not be lost
		return
	}
	s.leave(w)
}

// pass hands a held slot to the source whose turn it is, or frees it.
func (s *parseSlots) pass() {
	next := s.turns.Front()
	if next == nil {
		s.held--
		return
	}
	q, _ := next.Value.(*sourceQueue)
	w, _ := q.waiters.Front().Value.(*waiter)
	s.longest = max(s.longest, s.granted-q.since)
	s.granted++
	s.turns.MoveToBack(q.turn)
	q.since = s.granted
	s.leave(w)
	close(w.granted)
}

// leave takes a request out of its queue, and a queue that is empty out of the turns.
func (s *parseSlots) leave(w *waiter) {
	q := w.queue
	q.waiters.Remove(w.at)
	w.at = nil
	if q.waiters.Len() == 0 {
		s.turns.Remove(q.turn)
		delete(s.queues, q.source)
	}
}
