package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"

	"masspay/store"
	"masspay/web"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Take callbacks, and show people what became of the money",
		Long: `Take the gate's callbacks on callbacks.listen and write what they say into the
store. Answers 200 only when it is on disk. Sends nothing: no HTTP request can
start a payout. Shows pages on admin.listen (masspay token NAME lets a person in). Stop it with SIGTERM or Ctrl-C; SIGHUP reads the secrets again.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context()) },
	}
}

// log is for a process that runs on: JSON for collectors, colours for a person.
func (a *app) log() *slog.Logger {
	if a.w.terminal() {
		return slog.New(tint.NewTextHandler(a.w.stderr, &tint.Options{TimeFormat: time.TimeOnly}))
	}
	return slog.New(slog.NewJSONHandler(a.w.stderr, nil))
}

func (a *app) serve(ctx context.Context) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	keys, err := c.secrets()
	if err != nil {
		return err
	}
	if c.Callbacks.Listen == "" {
		return failf(exitConfig, "e.g. callbacks.listen: 127.0.0.1:8080", "callbacks.listen is empty, so there is nothing to serve")
	}
	log := a.log()
	keys.warn = func(text string) { log.Warn("secrets not read again, the old ones stay in force", "reason", text) }
	a.w.hangup.set(func() {
		if err := keys.reload(); err != nil {
			keys.warn(err.Error())
			return
		}
		log.Info("secrets read again")
	})
	committer, heard := web.NewCommitter(a.engine(s)), web.NewHeard()
	callbacks := &web.Callbacks{
		Keys: keys, Committer: committer, Log: log, Heard: heard, Took: a.process.CallbackTook,
		Allow: prefixes(c.Callbacks.Allow), Proxies: prefixes(c.Callbacks.TrustedProxies),
	}
	public, err := web.Open(ctx, c.Callbacks.Listen, callbacks.Mux(c.Callbacks.Path))
	if err != nil {
		return err
	}
	servers := []*web.Server{public}
	if c.Admin.Listen != "" {
		private, err := a.private(ctx, c, s, heard, log)
		if err != nil {
			return err
		}
		servers = append(servers, private)
		log.Info("health and pages", "listen", private.Addr().String())
	}
	if err := a.record(ctx, c, s, "serve", "", ""); err != nil {
		return err
	}
	if peopled, ok := s.(store.Peopled); ok {
		// It is listed among the processes, and keeps the store's clock; callbacks do not
		// depend on it.
		if err := peopled.Join(ctx); err != nil {
			log.Warn("not listed among the processes of the store", "because", oneLine(err.Error()))
		}
	}
	log.Info("taking callbacks", "listen", public.Addr().String(), "path", c.Callbacks.Path, "version", version)
	// Commits go on until the last callback under way is answered.
	committing, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		committer.Run(committing)
	}()
	a.tellReady(ctx)
	err = web.Serve(ctx, servers...)
	stop()
	<-done
	log.Info("stopped; what was answered with 200 is on disk")
	return err
}

func ready(s store.Store) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.NextDue(ctx)
		return err
	}
}
