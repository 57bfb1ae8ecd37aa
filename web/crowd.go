package web

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// crowd bounds the number of connections. When there are too many, one must go:
// of those that have said nothing yet the one that has waited longest, as long
// as they are many; else of those whose request is under way the one that takes
// longest. The platform's take milliseconds.
type crowd struct {
	most int

	mu     sync.Mutex
	silent *list.List // of net.Conn, the longest waiting first
	active *list.List
	place  map[net.Conn]seat
}

// seat is where a connection is counted.
type seat struct {
	in *list.List
	at *list.Element
}

func newCrowd(most int) *crowd {
	return &crowd{most: most, silent: list.New(), active: list.New(), place: map[net.Conn]seat{}}
}

// changed is a server's ConnState.
func (c *crowd) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(conn)
	switch state {
	case http.StateNew, http.StateIdle:
		c.sit(conn, c.silent)
	case http.StateActive:
		c.sit(conn, c.active)
	case http.StateHijacked, http.StateClosed:
		return
	}
	if len(c.place) <= c.most {
		return
	}
	from := c.silent
	if c.silent.Len() <= c.most/8 && c.active.Len() > 0 {
		from = c.active
	}
	gone, _ := from.Front().Value.(net.Conn)
	c.leave(gone)
	_ = gone.Close()
}

func (c *crowd) sit(conn net.Conn, in *list.List) { c.place[conn] = seat{in, in.PushBack(conn)} }

func (c *crowd) leave(conn net.Conn) {
	if s, ok := c.place[conn]; ok {
		s.in.Remove(s.at)
		delete(c.place, conn)
	}
}
