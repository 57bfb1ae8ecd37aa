package web

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// crowd bounds the number of connections. When there are too many, the one that
// has waited longest must go: it is not one of the platform's, which take
// milliseconds, but one that holds a place by saying nothing, or slowly.
type crowd struct {
	most int

	mu    sync.Mutex
	order *list.List // of net.Conn, the longest waiting first
	place map[net.Conn]*list.Element
}

func newCrowd(most int) *crowd {
	return &crowd{most: most, order: list.New(), place: map[net.Conn]*list.Element{}}
}

// changed is a server's ConnState.
func (c *crowd) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.place[conn] = c.order.PushBack(conn)
		if c.order.Len() > c.most {
			oldest := c.order.Front()
			gone, _ := c.order.Remove(oldest).(net.Conn)
			delete(c.place, gone)
			_ = gone.Close()
		}
	case http.StateIdle: // it has got its answer, and begins anew
		if e := c.place[conn]; e != nil {
			c.order.MoveToBack(e)
		}
	case http.StateClosed, http.StateHijacked:
		if e := c.place[conn]; e != nil {
			c.order.Remove(e)
			delete(c.place, conn)
		}
	}
}
