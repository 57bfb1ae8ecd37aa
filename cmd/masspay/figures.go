package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"masspay/metrics"
	"masspay/store"
)

// metricsConfig is where commands that end leave figures for a monitoring system.
type metricsConfig struct {
	Textfile string `yaml:"textfile"`
}

// size is how large a store in a file is, and what its disk has left; nil for a database.
func (c *storeConfig) size() func() (bytes, free uint64, err error) {
	if c.URL != "" {
		return nil
	}
	path := c.Path
	return func() (bytes, free uint64, err error) {
		info, err := os.Stat(path)
		if err != nil {
			return 0, 0, err
		}
		var st unix.Statfs_t
		if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
			return 0, 0, err
		}
		return uint64(info.Size()), st.Bavail * uint64(st.Bsize), nil
	}
}

// textfileEvery is how often a command that goes on writes its figures.
const textfileEvery = 15 * time.Second

// figures writes the figures of a store to metrics.textfile, now and again until the context
// ends. That they cannot be written is said once, and is no reason to fail.
func (a *app) figures(ctx context.Context, c *config, s store.Store) (stop func()) {
	if c.Metrics.Textfile == "" {
		return func() {}
	}
	g := metrics.New(s, metrics.Options{Version: version, Size: c.Store.size()})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		said := false
		for {
			if err := metrics.WriteFile(c.Metrics.Textfile, g); err != nil && !said {
				a.say("warning: %s", oneLine(err.Error()))
				said = true
			}
			t := time.NewTimer(textfileEvery)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// lastFigures writes them once more when a run's end is in the store.
func (a *app) lastFigures(c *config, s store.Store) {
	if c.Metrics.Textfile == "" {
		return
	}
	var g prometheus.Gatherer = metrics.New(s, metrics.Options{Version: version, Size: c.Store.size()})
	if err := metrics.WriteFile(c.Metrics.Textfile, g); err != nil {
		a.say("warning: %s", oneLine(err.Error()))
	}
}
