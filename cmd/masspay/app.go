package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/gate"
	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
)

// app is what the commands share.
type app struct {
	w          world
	env        map[string]string
	configFlag string
}

// run is the program: arguments in, exit code out. It is all that a test needs.
func run(ctx context.Context, args []string, w world) int {
	a := &app{w: w, env: masspayEnv(w.env)}
	if folder := a.env[envProfile]; folder != "" {
		stop, err := profile(folder)
		if err != nil {
			f := explain(err)
			f.print(w)
			return f.code
		}
		defer func() {
			if err := stop(); err != nil {
				a.say("masspay: profiles not written: %v", err)
			}
		}()
	}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(w.stdin)
	root.SetOut(w.stdout)
	root.SetErr(w.stderr)
	err := root.ExecuteContext(ctx)
	var e *ended
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &e):
		return e.code
	}
	f := explain(err)
	if ctx.Err() != nil && f.code == exitUnexpected {
		f.code = exitInterrupted
	}
	f.print(w)
	return f.code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "masspay",
		Short: "Pay out a CSV file: each row once, with an answer for every row",
		Long: `masspay reads a CSV file in the Dashboard's mass payment format, refuses what is
wrong with it, sends each row once to the Gate API, waits for the verdicts, and
writes a result: every input row, in order, with what became of it.

Try it:      masspay demo
Begin:       masspay init, then put your project and its secret into masspay.yaml
Every day:   masspay check FILE, then masspay run FILE -o RESULT.csv`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			hint := "masspay --help lists the commands"
			if like := c.SuggestionsFor(args[0]); len(like) > 0 {
				hint = "did you mean masspay " + like[0] + "? " + hint
			}
			return failf(exitConfig, hint, "masspay %s: no such command; nothing was sent", args[0])
		},
		SuggestionsMinimumDistance: 2,
	}
	root.PersistentFlags().StringVar(&a.configFlag, "config", "", "configuration `FILE` (default: MASSPAY_CONFIG, ./masspay.yaml, /etc/masspay/masspay.yaml)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return failf(exitConfig, c.CommandPath()+" --help lists the flags", "%w; nothing was sent", err)
	})
	root.AddCommand(
		a.initCommand(), a.checkCommand(), a.runCommand(), a.statusCommand(), a.reconcileCommand(),
		a.reportCommand(), a.cancelCommand(), a.serveCommand(), a.backupCommand(), a.doctorCommand(),
		a.signatureCommand(), a.demoCommand(), a.manCommand(), a.versionCommand(),
	)
	return root
}

// args checks the number of arguments.
func args(least, most int, want string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return failf(exitConfig, "usage: "+c.UseLine(), "%s: want %s; nothing was sent", c.CommandPath(), want)
		}
		return nil
	}
}

// config finds and reads the configuration.
func (a *app) config() (*config, error) {
	file, err := findConfig(a.configFlag, a.env)
	if err != nil {
		return nil, err
	}
	return loadConfig(file, a.env)
}

// open reads the configuration and opens its store.
func (a *app) open(ctx context.Context) (*config, *bolt.Store, error) {
	c, err := a.config()
	if err != nil {
		return nil, nil, err
	}
	o, err := c.storeOptions()
	if err != nil {
		return nil, nil, err
	}
	s, err := bolt.Open(ctx, o)
	return c, s, err
}

// engine is the store as the engine sees it.
func (a *app) engine(s store.Store) store.Store {
	if a.w.through != nil {
		return a.w.through(s)
	}
	return s
}

func (c *config) storeOptions() (bolt.Options, error) {
	key, err := c.storeKey()
	return bolt.Options{
		Path: c.Store.Path, Key: key, Marker: c.Store.Marker,
		Rules: payout.Rules{StatusAfter: c.Gate.StatusAfter, QuietPeriod: c.Gate.QuietPeriod},
	}, err
}

// gateClient makes the client and its limiter; close releases both.
func (c *config) gateClient() (client *gate.Client, closer func(), err error) {
	keys, err := c.secrets()
	if err != nil {
		return nil, nil, err
	}
	limiter, err := bolt.OpenLimiter(c.Store.Path, c.Gate.Rate, c.Gate.Burst)
	if err != nil {
		return nil, nil, err
	}
	client, err = gate.NewClient(gate.Options{
		BaseURL: c.Gate.BaseURL, Keys: keys, Limiter: limiter, Timeout: c.Gate.Timeout,
		Transport: gate.NewTransport(c.Gate.Workers), Version: version,
	})
	if err != nil {
		return nil, nil, errors.Join(err, limiter.Close())
	}
	return client, func() { client.Close(); _ = limiter.Close() }, nil
}

// sameHost refuses to go on when open payouts were sent to another gate: that
// one would not know them.
func sameHost(ctx context.Context, s store.Store, host string) error {
	hosts, err := s.OpenHosts(ctx)
	if err != nil {
		return err
	}
	hosts = slices.DeleteFunc(hosts, func(h string) bool { return h == host })
	if len(hosts) > 0 {
		return failf(exitConfig, "set gate.base_url back until those payouts are settled, or use another store for the new gate",
			"open payouts were sent to %s, and gate.base_url is %s, which cannot know of them; nothing was sent", strings.Join(hosts, ", "), host)
	}
	return nil
}

// record keeps who runs what.
func (a *app) record(ctx context.Context, c *config, s store.Store, command, file, batchID string) error {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname() // an empty one is a fact too
	return s.Record(ctx, store.Run{
		Command: command, User: name, Host: host, PID: os.Getpid(), Version: version, Config: c.hash(),
		File: file, Batch: batchID, At: time.Now().UTC(),
	})
}

// expectFlags are the control totals, which check and run share.
type expectFlags struct {
	rows   int
	totals []string
}

func (e *expectFlags) register(c *cobra.Command) {
	c.Flags().IntVar(&e.rows, "expect-rows", 0, "refuse the file unless it has `N` rows")
	c.Flags().StringArrayVar(&e.totals, "expect-total", nil, "refuse the file unless it adds up to `AMOUNT`, e.g. 1250000.00KGS; once for each currency")
}

func (e *expectFlags) expect(c *config) (batch.Expect, error) {
	out := batch.Expect{Rows: e.rows}
	for _, t := range e.totals {
		a, err := payout.ParseTotal(t)
		if err != nil {
			return out, failf(exitConfig, "e.g. --expect-total 1250000.00KGS", "--expect-total %q: %w; nothing was sent", t, err)
		}
		out.Totals = append(out.Totals, a)
	}
	if c.Limits.RunTotal != "" {
		a, err := payout.ParseTotal(c.Limits.RunTotal)
		if err != nil {
			return out, err // validated before
		}
		out.Limits = []payout.Amount{a}
	}
	return out, nil
}

// say writes a line for people.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.w.stderr, format+"\n", args...)
}
