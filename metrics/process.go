package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Process counts what one process does and no store keeps: it begins with zero. A nil one counts
// nothing.
type Process struct {
	callbacks prometheus.Histogram
	waits     prometheus.Histogram
	busy      prometheus.Counter
	requests  *prometheus.CounterVec
}

// NewProcess begins to count.
func NewProcess() *Process {
	return &Process{
		callbacks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "masspay_callback_seconds", Help: "From a callback until its answer, of this process.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		waits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "masspay_store_wait_seconds", Help: "How long this process waited for its turns at the store.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		busy:     prometheus.NewCounter(prometheus.CounterOpts{Name: "masspay_store_busy_total", Help: "Turns at the store that this process waited for in vain."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "masspay_http_requests_total", Help: "Requests to the private side of this process."}, []string{"page", "code"}),
	}
}

// Describe and Collect are a prometheus.Collector's.
func (p *Process) Describe(to chan<- *prometheus.Desc) {
	for _, c := range p.all() {
		c.Describe(to)
	}
}

// Collect gives the figures.
func (p *Process) Collect(to chan<- prometheus.Metric) {
	for _, c := range p.all() {
		c.Collect(to)
	}
}

func (p *Process) all() []prometheus.Collector {
	return []prometheus.Collector{p.callbacks, p.waits, p.busy, p.requests}
}

// CallbackTook counts a callback that was answered.
func (p *Process) CallbackTook(d time.Duration) {
	if p != nil {
		p.callbacks.Observe(d.Seconds())
	}
}

// Waited counts a turn at the store.
func (p *Process) Waited(d time.Duration, busy bool) {
	if p == nil {
		return
	}
	p.waits.Observe(d.Seconds())
	if busy {
		p.busy.Inc()
	}
}

// Asked counts a request; page is the pattern of its path, so that there are few.
func (p *Process) Asked(page string, code int) {
	if p == nil {
		return
	}
	p.requests.WithLabelValues(page, strconv.Itoa(code)).Inc()
}
