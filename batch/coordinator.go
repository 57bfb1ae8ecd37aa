package batch

import (
	"sync"
	"time"
)

// coordinator is what the goroutines of a run know of each other: plain state under one
// lock, and three signals for those who wait. The zero value is not ready; see
// newCoordinator.
type coordinator struct {
	begun time.Time

	freed  chan struct{} // a payout may be claimed again
	room   chan struct{} // the limiter has let a claim go
	rested chan struct{} // the last of what was claimed is recorded, or nothing was left to claim

	mu       sync.Mutex
	claimed  int           // payouts that are claimed and not recorded
	waiting  int           // of those, the ones that the limiter has not let go
	gone     int           // claims that it has let go, or will not
	idle     bool          // the last claim found nothing to send
	halted   bool          // sending stopped, for the rest of the run or until it goes on
	paused   bool          // until a person lets the batch go
	stopped  chan struct{} // closed when it is halted
	ended    bool          // and nothing is waited for
	held     string        // why no other run is to send the batch either
	proven   bool          // the gate has answered as only a gate does
	sent     int           // payout requests
	polled   int           // status requests that were answered
	lastSend time.Time

	unreached     string    // why the gate could not be reached, the last time that it could not
	toldUnreached time.Time // when that was told last; zero: not since the gate answered
	answered      time.Time // when it answered again after that
}

func newCoordinator(begun time.Time) *coordinator {
	signal := func() chan struct{} { return make(chan struct{}, 1) }
	return &coordinator{stopped: make(chan struct{}), begun: begun, lastSend: begun, freed: signal(), room: signal(), rested: signal()}
}

// signal tells whoever waits on a channel of one place; no one is told twice.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// took notes payouts that were claimed; none: there was nothing to claim.
func (c *coordinator) took(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed += n
	c.waiting += n
	if c.idle = n == 0; c.idle {
		signal(c.rested)
	}
}

// goes notes that a claim waits for the limiter no more.
func (c *coordinator) goes() {
	c.mu.Lock()
	c.waiting--
	c.gone++
	c.mu.Unlock()
	signal(c.room)
}

// recorded notes that what became of a claim is durable, or in doubt for good.
func (c *coordinator) recorded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claimed--; c.claimed == 0 {
		signal(c.rested)
	}
}

// free notes that a payout may be claimed again.
func (c *coordinator) free() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = false
	signal(c.freed)
}

// queue is how many claims the limiter has let go, and how many wait for it.
func (c *coordinator) queue() (gone, waiting int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone, c.waiting
}

// inFlight is how many payouts are claimed and not recorded.
func (c *coordinator) inFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.claimed
}

// resting reports whether nothing more is being claimed: the last claim found nothing, or
// sending stopped.
func (c *coordinator) resting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idle || c.halted
}

// nothingToSend reports whether nothing is claimed and nothing can be.
func (c *coordinator) nothingToSend() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return (c.idle || c.halted) && c.claimed == 0
}

// halt ends the sending; first says that it had not ended before.
func (c *coordinator) halt() (first bool) { return c.stop(false) }

// pause ends the sending until resume; first says that it had not ended before.
func (c *coordinator) pause() (first bool) { return c.stop(true) }

func (c *coordinator) stop(paused bool) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.halted:
		c.halted, c.paused = true, paused
		close(c.stopped)
		return true
	case c.paused && !paused: // what stops the run for good came while it was paused
		c.paused = false
		return true
	}
	return false
}

// resume lets a run send again that is paused, and reports whether it is.
func (c *coordinator) resume() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.paused {
		return false
	}
	c.halted, c.paused, c.idle, c.stopped = false, false, false, make(chan struct{})
	return true
}

func (c *coordinator) isPaused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// untilHalted is closed when sending stops.
func (c *coordinator) untilHalted() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

func (c *coordinator) isHalted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halted
}

// stopOthers says that no other run is to send the batch either, and why.
func (c *coordinator) stopOthers(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = why
}

// takeHoldReason returns that reason once, "" if there is none.
func (c *coordinator) takeHoldReason() (why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	why, c.held = c.held, ""
	return why
}

// end says that nothing is waited for either.
func (c *coordinator) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
}

func (c *coordinator) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// prove notes whether the gate has answered as only a gate does.
func (c *coordinator) prove(proven bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proven = proven
}

func (c *coordinator) isProven() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proven
}

// requested notes a payout request that may have left; again says that the gate answers
// after people were told that it does not.
func (c *coordinator) requested(now time.Time) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	c.lastSend = now
	if c.toldUnreached.IsZero() {
		return false
	}
	c.toldUnreached, c.answered = time.Time{}, now
	return true
}

// lost notes why the gate could not be reached.
func (c *coordinator) lost(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unreached = why
}

func (c *coordinator) polls(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polled += n
}

// sinceLastSend is the time since the last request, or since the run began.
func (c *coordinator) sinceLastSend(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.lastSend)
}

// tellUnreached is how often a run says that the gate cannot be reached.
const tellUnreached = time.Minute

// cannotReach notes why the gate could not be reached, and reports whether to say so. A
// request that was started before the gate answered again tells of no outage.
func (c *coordinator) cannotReach(why string, started, now time.Time) (say bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unreached = why
	if started.Before(c.answered) || !c.toldUnreached.IsZero() && now.Sub(c.toldUnreached) < tellUnreached {
		return false
	}
	c.toldUnreached = now
	return true
}
