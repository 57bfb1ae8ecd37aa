// Package metrics makes figures for a monitoring system of what a store has counted: how
// many payouts are in which state, what gates answered and how fast, how runs ended. No
// label is a batch, a file, a payment or a person, and there are no amounts: metrics are
// floats.
package metrics

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"masspay/payout"
	"masspay/store"
)

// Source is what figures are read from.
type Source interface {
	Totals(ctx context.Context) (store.Totals, error)
	Latest(ctx context.Context, before uint32, limit int) ([]store.Batch, error)
	LatestRuns(ctx context.Context, before uint64, limit int) ([]store.Run, error)
	List(ctx context.Context, f store.Filter) iter.Seq2[payout.History, error]
	PausedUntil(ctx context.Context) (time.Time, error)
}

// Options are what a store does not know.
type Options struct {
	Version string

	// Size is how large the store is and how much its disk has left, in bytes; nil: not known,
	// as of a database.
	Size func() (bytes, free uint64, err error)

	Process *Process // what this process counts itself; nil: nothing

	// Callbacks are how many callbacks of each result this process has had; nil: it takes none.
	Callbacks func() map[string]int64
}

// Collector reads the figures when they are asked for, once a second at most.
type Collector struct {
	source Source
	o      Options

	mu   sync.Mutex
	at   time.Time
	last []prometheus.Metric
	runs runs
}

// New makes a registry with the figures of a store.
func New(s Source, o Options) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(NewCollector(s, o))
	if o.Process != nil {
		r.MustRegister(o.Process)
	}
	return r
}

// NewCollector is what New registers.
func NewCollector(s Source, o Options) *Collector {
	return &Collector{source: s, o: o, runs: runs{ended: map[[2]string]int64{}, ends: map[string]runEnds{}}}
}

// Forget makes the next look read the store again, also within the second.
func (c *Collector) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = time.Time{}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("masspay_"+name, help, labels, nil)
}

var (
	descUp         = desc("store_readable", "1: the store could be read for these figures.")
	descPayouts    = desc("payouts", "Payouts by state, each once.", "state")
	descExceptions = desc("exceptions_open", "Payouts that a person must look at.")
	descQuestions  = desc("clarifications_open", "Payouts that the platform has a question about, which a person must answer; among the first 1,000 that one must look at.")
	descAnswerBy   = desc("clarification_deadline_timestamp_seconds", "Until when the first of these questions must be answered, or the platform declines the payout.")
	descPaused     = desc("gate_paused_until_timestamp_seconds", "Until when nothing is sent, because a gate asked for a pause; left out when there is none.")
	descBackup     = desc("last_backup_timestamp_seconds", "When the store was last copied.")
	descHeld       = desc("batches_held", "Files, of the newest, that are held by a person, a breaker or a canary.")
	descOldest     = desc("oldest_open_batch_timestamp_seconds", "When the oldest of the newest files was loaded that has open payouts.")
	descAnswers    = desc("gate_answers_total", "What requests to the gate brought.", "request", "answer")
	descAnswerTime = desc("gate_answer_seconds", "How long the gate took to answer.", "request")
	descOutcomes   = desc("outcomes_total", "Payouts that got an outcome.", "result")
	descOutcome    = desc("outcome_seconds", "From the first request of a payout until its outcome.")
	descFreed      = desc("freed_total", "Payouts that were in doubt, and may be sent again.")
	descRuns       = desc("runs_total", "Commands that ended.", "command", "exit_code")
	descStart      = desc("last_start_timestamp_seconds", "When a command last began.", "command")
	descEnd        = desc("last_end_timestamp_seconds", "When a command last ended, however it did.", "command")
	descExit       = desc("last_exit_code", "How a command last ended.", "command")
	descSuccess    = desc("last_success_timestamp_seconds", "When a command last ended with exit code 0, 3 or 4.", "command")
	descCallbacks  = desc("callbacks_total", "Callbacks of this process.", "result")
	descBytes      = desc("store_bytes", "Size of the store.")
	descFree       = desc("store_free_bytes", "What the store's disk has left.")
	descBuild      = desc("build_info", "The version of masspay.", "version")
)

// Describe tells of no metrics ahead: which there are depends on the store.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect gives the figures. Where the store cannot be read it gives only that.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	const longest = 10 * time.Second
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) >= time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), longest)
		defer cancel()
		read := &reading{Collector: c}
		err := read.all(ctx)
		readable := 1.0
		if err != nil {
			read.got, readable = nil, 0
		}
		read.gauge(descUp, readable)
		read.gauge(descBuild, 1, c.o.Version)
		c.at, c.last = time.Now(), read.got
	}
	for _, m := range c.last {
		to <- m
	}
}

// reading is one look at a store.
type reading struct {
	*Collector
	got []prometheus.Metric
}

func (r *reading) gauge(d *prometheus.Desc, value float64, labels ...string) {
	r.got = append(r.got, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...))
}

func (r *reading) counter(d *prometheus.Desc, value int64, labels ...string) {
	r.got = append(r.got, prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...))
}

func (r *reading) histogram(d *prometheus.Desc, f *store.Flow, t store.Times, labels ...string) {
	counts, sum := f.Histogram(t)
	buckets, n := map[float64]uint64{}, uint64(0)
	for i, bound := range t.Bounds() {
		n += uint64(counts[i])
		buckets[bound.Seconds()] = n
	}
	r.got = append(r.got, prometheus.MustNewConstHistogram(d, uint64(f.N(t)), sum.Seconds(), buckets, labels...))
}

func (r *reading) all(ctx context.Context) error {
	totals, err := r.source.Totals(ctx)
	if err != nil {
		return err
	}
	for _, s := range payout.States {
		r.gauge(descPayouts, float64(totals.States[s]), s.String())
	}
	f := &totals.Flow
	for _, a := range []struct {
		figure          store.Figure
		request, answer string
	}{
		{store.Accepted, "payout", "accepted"}, {store.Taken, "payout", "taken"}, {store.Refused, "payout", "refused"}, {store.NotSent, "payout", "not_sent"}, {store.InDoubt, "payout", "in_doubt"},
		{store.Told, "status", "changed"}, {store.NotSeen, "status", "not_seen"}, {store.Unchanged, "status", "unchanged"},
	} {
		r.counter(descAnswers, f[a.figure], a.request, a.answer)
	}
	r.histogram(descAnswerTime, f, store.AnswerTimes, "payout")
	r.histogram(descAnswerTime, f, store.QuestionTimes, "status")
	for _, o := range []struct {
		figure store.Figure
		result string
	}{{store.Paid, "paid"}, {store.Partly, "partly_paid"}, {store.Declined, "declined"}, {store.Rejected, "rejected"}, {store.Returned, "returned"}} {
		r.counter(descOutcomes, f[o.figure], o.result)
	}
	r.histogram(descOutcome, f, store.OutcomeTimes)
	r.counter(descFreed, f[store.Freed])
	if err := r.exceptions(ctx); err != nil {
		return err
	}
	if err := r.batches(ctx); err != nil {
		return err
	}
	until, err := r.source.PausedUntil(ctx)
	if err != nil {
		return err
	}
	if !until.IsZero() {
		r.gauge(descPaused, seconds(until))
	}
	if err := r.runs.read(ctx, r.source); err != nil {
		return err
	}
	r.runs.tell(r)
	if r.o.Callbacks != nil {
		for result, n := range r.o.Callbacks() {
			r.counter(descCallbacks, n, result)
		}
	}
	if r.o.Size != nil {
		if bytes, free, err := r.o.Size(); err == nil {
			r.gauge(descBytes, float64(bytes))
			r.gauge(descFree, float64(free))
		}
	}
	return nil
}

// exceptionsMost is how many exceptions are counted: an alert wants to know that there are some.
const exceptionsMost = 1000

func (r *reading) exceptions(ctx context.Context) error {
	n := 0
	var questions payout.Questions
	for h, err := range r.source.List(ctx, store.Filter{Exception: payout.OpenException, Limit: exceptionsMost}) {
		if err != nil {
			return err
		}
		n++
		questions.Add(&h.Payout)
	}
	r.gauge(descExceptions, float64(n))
	r.gauge(descQuestions, float64(questions.N))
	if questions.N > 0 {
		r.gauge(descAnswerBy, seconds(questions.AnswerBy))
	}
	return nil
}

// filesLooked are how many of the newest files are looked at.
const filesLooked = 200

func (r *reading) batches(ctx context.Context) error {
	files, err := r.source.Latest(ctx, 0, filesLooked)
	if err != nil {
		return err
	}
	held := 0
	var oldest time.Time
	for _, b := range files {
		if b.Held.Lasting() {
			held++
		}
		if b.Open() > 0 {
			oldest = b.LoadedAt
		}
	}
	r.gauge(descHeld, float64(held))
	if !oldest.IsZero() {
		r.gauge(descOldest, seconds(oldest))
	}
	return nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// runs are the runs of a store, counted once each.
type runs struct {
	counted uint64              // all up to this number have ended, or are among those that go on
	ended   map[[2]string]int64 // by command and exit code
	going   []uint64
	ends    map[string]runEnds // by command
}

// runEnds is how a command last began and ended.
type runEnds struct {
	began, ended, success time.Time
	exit                  int
}

// read reads the runs that are new, and those that went on when it last looked.
func (a *runs) read(ctx context.Context, s Source) error {
	const burst = 500
	first := a.counted
	if len(a.going) > 0 && a.going[0]-1 < first {
		first = a.going[0] - 1
	}
	var fresh []store.Run
	for before := uint64(0); ; {
		some, err := s.LatestRuns(ctx, before, burst)
		if err != nil {
			return err
		}
		for _, r := range some {
			if r.Number > first {
				fresh = append(fresh, r)
			}
		}
		if len(some) < burst || some[len(some)-1].Number <= first {
			break
		}
		before = some[len(some)-1].Number
	}
	was := map[uint64]bool{}
	for _, n := range a.going {
		was[n] = true
	}
	const oldest = 100 // that are waited for: of the others nobody hears any more
	a.going = nil
	for i := len(fresh) - 1; i >= 0; i-- {
		r := &fresh[i]
		if r.Number <= a.counted && !was[r.Number] {
			continue
		}
		a.add(r)
	}
	if n := len(a.going) - oldest; n > 0 {
		a.going = a.going[n:]
	}
	if len(fresh) > 0 {
		a.counted = max(a.counted, fresh[0].Number)
	}
	return nil
}

func (a *runs) add(r *store.Run) {
	command, _, _ := strings.Cut(r.Command, " ")
	is := a.ends[command]
	if r.At.After(is.began) {
		is.began = r.At
	}
	if r.End == nil {
		a.going = append(a.going, r.Number)
	} else {
		a.ended[[2]string{command, strconv.Itoa(r.End.ExitCode)}]++
		if r.End.At.After(is.ended) {
			is.ended, is.exit = r.End.At, r.End.ExitCode
		}
		if good := r.End.ExitCode == 0 || r.End.ExitCode == 3 || r.End.ExitCode == 4; good && r.End.At.After(is.success) {
			is.success = r.End.At
		}
	}
	a.ends[command] = is
}

func (a *runs) tell(r *reading) {
	for k, n := range a.ended {
		r.counter(descRuns, n, k[0], k[1])
	}
	for command, is := range a.ends {
		r.gauge(descStart, seconds(is.began), command)
		if !is.ended.IsZero() {
			r.gauge(descEnd, seconds(is.ended), command)
			r.gauge(descExit, float64(is.exit), command)
		}
		if command == "backup" && !is.success.IsZero() {
			r.gauge(descBackup, seconds(is.success))
		}
		if !is.success.IsZero() {
			r.gauge(descSuccess, seconds(is.success), command)
		}
	}
}

// WriteFile writes the figures for node_exporter's textfile collector: into a temporary file
// beside it, which takes its name when it is whole. Everybody may read it.
func WriteFile(path string, g prometheus.Gatherer) error {
	if err := prometheus.WriteToTextfile(path, g); err != nil {
		return fmt.Errorf("metrics.textfile: %w", err)
	}
	return nil
}
