package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"masspay/payout"
)

// viewers look at pages beside a run, each at one a second.
const viewers = 20

// pages measures what pages cost: how long they take on a large store, alone and beside a run
// at full speed that many people watch, and what those cost the run.
func (b *bench) pages(ctx context.Context, rows, many int) error {
	folder, err := b.store(ctx, "pages")
	if err != nil {
		return err
	}
	socket, large := filepath.Join(folder, "admin.sock"), filepath.Join(folder, "large.csv")
	config, err := os.OpenFile(filepath.Join(folder, "masspay.yaml"), os.O_APPEND|os.O_WRONLY, 0) //nolint:gosec // in our own folder
	if err != nil {
		return err
	}
	_, err = config.WriteString("admin:\n  listen: unix:" + socket + "\n")
	if err := errors.Join(err, config.Close(), writeFile(large, 0, many)); err != nil {
		return err
	}
	b.tell("run of %s rows, to be looked at", payout.FormatNumber(many))
	if _, err := b.run(ctx, folder, "masspay", "run", "--wait", "0", large, "-o", "result.csv"); err != nil {
		return err
	}
	id, err := b.batch(ctx, folder)
	if err != nil {
		return err
	}
	return b.serving(ctx, folder, func(string) error {
		look := &looking{batch: id[:12], rows: many, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: viewers, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}}
		return b.watched(ctx, folder, look, rows, many)
	})
}

func (b *bench) watched(ctx context.Context, folder string, look *looking, rows, many int) error {
	before, err := look.memory(ctx)
	if err != nil {
		return err
	}
	b.tell("pages of %s rows, alone", payout.FormatNumber(many))
	const each = 500
	for range each {
		if err := look.one(ctx); err != nil {
			return err
		}
	}
	b.add(fmt.Sprintf("a page of a store of %s rows, p99 ms", payout.FormatNumber(many)), "%.0f", []float64{look.quantile(99)})
	var ratio, half, tail []float64
	for n := range b.runs {
		var took [2]time.Duration
		for _, side := range []int{n % 2, 1 - n%2} {
			file := filepath.Join(folder, fmt.Sprint("beside", n, side, ".csv"))
			if err := writeFile(file, many+(2*n+side)*rows, rows); err != nil {
				return err
			}
			people, stop := context.WithCancel(ctx)
			var crowd sync.WaitGroup
			if side == 1 {
				look.took = nil
				for range viewers {
					crowd.Go(func() { look.now(people) })
				}
			}
			p, err := b.run(ctx, folder, "masspay", "run", "--wait", "0", file, "-o", "result.csv")
			stop()
			crowd.Wait()
			if err != nil {
				return err
			}
			took[side] = p.took
		}
		half = append(half, look.quantile(50))
		ratio, tail = append(ratio, took[1].Seconds()/took[0].Seconds()), append(tail, look.quantile(99))
	}
	b.add(fmt.Sprintf("run of %s rows that %d people watch, over one alone", payout.FormatNumber(rows), viewers), "%.2f", ratio)
	b.add("a page meanwhile, median ms", "%.0f", half)
	b.add("a page meanwhile, p99 ms", "%.0f", tail)
	b.tell("download of %s rows", payout.FormatNumber(many))
	begun := time.Now()
	if err := look.get(ctx, "/batches/"+look.batch+"/result.csv"); err != nil {
		return err
	}
	b.add(fmt.Sprintf("download of %s rows, rows/s", payout.FormatNumber(many)), "%.0f", []float64{float64(many) / time.Since(begun).Seconds()})
	after, err := look.memory(ctx)
	b.add("memory of serve after all that, MiB more", "%.0f", []float64{(after - before) / mebibyte})
	return err
}

// looking asks for pages.
type looking struct {
	batch  string
	rows   int
	client *http.Client

	mu   sync.Mutex
	took []time.Duration
}

// now looks at a page a second, until the context ends.
func (l *looking) now(ctx context.Context) {
	for l.one(ctx) == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// one looks at one of the pages, mostly at another place than before.
func (l *looking) one(ctx context.Context) error {
	at := strconv.Itoa(rand.IntN(l.rows)) //nolint:gosec // any place will do
	paths := []string{
		"/", "/batches/" + l.batch, "/batches/" + l.batch + "/rows?after=" + at, "/batches/" + l.batch + "/rows?result=declined&after=" + at,
		"/payout?project=1234&id=" + cells(rand.IntN(l.rows))[3], "/exceptions", "/runs", "/gate", //nolint:gosec // any payout will do
	}
	begun := time.Now()
	err := l.get(ctx, paths[rand.IntN(len(paths))]) //nolint:gosec // any page will do
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() == nil {
		l.took = append(l.took, time.Since(begun))
	}
	return err
}

func (l *looking) get(ctx context.Context, path string) error {
	return l.read(ctx, path, io.Discard)
}

func (l *looking) read(ctx context.Context, path string, to io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://socket"+path, nil)
	if err != nil {
		return err
	}
	resp, err := l.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	_, err = io.Copy(to, resp.Body)
	return err
}

var residentPattern = regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`)

// memory is what serve has now, in bytes.
func (l *looking) memory(ctx context.Context) (bytes float64, err error) {
	var text reading
	if err := l.read(ctx, "/metrics", &text); err != nil {
		return 0, err
	}
	m := residentPattern.FindSubmatch(text)
	if m == nil {
		return 0, errors.New("serve does not say how much memory it has")
	}
	return strconv.ParseFloat(string(m[1]), 64) //nolint:forbidigo // bytes, not money
}

type reading []byte

func (b *reading) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

// quantile is within what so many of 100 looks took, in milliseconds.
func (l *looking) quantile(percent int) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		return 0
	}
	slices.Sort(l.took)
	return l.took[(len(l.took)-1)*percent/100].Seconds() * 1e3
}
