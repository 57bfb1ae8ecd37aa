package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/batch/payfile"
	"masspay/gate"
	"masspay/gate/transport"
	"masspay/payout"
	"masspay/store"
)

// app is what the commands share.
type app struct {
	w          world
	env        map[string]string
	configFlag string
	line       commandLine // that is running
	ran        recorded    // what the store keeps of this run
}

// recorded is a run that the store knows of, until its end is recorded too.
type recorded struct {
	number uint64 // 0: none
	config *config
	end    store.RunEnd
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
	command, err := root.ExecuteContextC(ctx)
	var e *ended
	switch {
	case err == nil:
		return a.recordEnd(exitDone, "")
	case errors.As(err, &e):
		return a.recordEnd(e.code, "")
	}
	f := a.explain(err)
	if neverSends[command.Name()] {
		f.err = errors.New(sentNothing.ReplaceAllString(f.err.Error(), ""))
	}
	if ctx.Err() != nil && f.code == exitUnexpected {
		f.code = exitInterrupted
	}
	f.print(w)
	return a.recordEnd(f.code, oneLine(f.err.Error()))
}

// neverSends are commands that make no payments: "nothing was sent" would sound there as
// if something could have been.
var neverSends = map[string]bool{"serve": true, "backup": true, "demo": true, "man": true, "version": true, "signature": true, "completion": true}

var sentNothing = regexp.MustCompile(`(; |, )nothing (more )?was sent( by this run)?$`)

// recordEnd keeps how a recorded run ended, and returns its exit code. That it could
// not be kept is no reason to call the run's work undone.
func (a *app) recordEnd(code int, text string) int {
	r := a.ran
	if r.number == 0 {
		return code
	}
	const longest = 300
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	r.end.At, r.end.ExitCode, r.end.Error = time.Now().UTC(), code, text
	s, err := r.config.openStore(context.Background(), 2*time.Second)
	if err == nil {
		err = errors.Join(s.EndRun(context.Background(), r.number, r.end), s.Close())
	}
	if err != nil {
		a.say("warning: masspay log will not show how this run ended: %s", oneLine(err.Error()))
	}
	return code
}

// explain is explain with hints that fit this command.
func (a *app) explain(err error) *failure {
	f := *explain(err)
	if (a.line.name == "run" || a.line.name == "check") && len(a.line.args) > 0 {
		f.hint = strings.ReplaceAll(f.hint, "masspay check FILE", "masspay check "+a.line.args[0])
	}
	if a.line.name == "check" {
		f.hint, _, _ = strings.Cut(f.hint, "; masspay check ")
	}
	if a.line.name == "run" && len(a.line.args) > 0 {
		f.hint = strings.ReplaceAll(f.hint, "masspay run FILE --ask-first", a.again("--ask-first"))
	}
	f.hint = a.withConfig(f.hint)
	for i, l := range f.lines {
		f.lines[i] = a.withConfig(l)
	}
	return &f
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "masspay",
		Short: "Pay out a CSV file: each row once, with an answer for every row",
		Long: `masspay reads a CSV file in the Dashboard's mass payment format, refuses what is
wrong with it, sends each row once to the Gate API, waits for the outcomes, and
writes a result: every input row, in order, with its outcome.

    Try it:      masspay demo
    Begin:       masspay init, then put your project and its secret into masspay.yaml,
                 then masspay ping
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
			return failf(exitConfig, hint, "%q: no such command; nothing was sent", args[0])
		},
		SuggestionsMinimumDistance: 2,
	}
	root.PersistentFlags().StringVar(&a.configFlag, "config", "", "configuration `FILE` (default: MASSPAY_CONFIG, ./masspay.yaml, /etc/masspay/masspay.yaml)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		hint := c.CommandPath() + " --help lists the flags"
		if strings.Contains(err.Error(), "missing unit in duration") {
			hint = "a time has a unit, as in 30s, 15m or 2h"
		}
		return failf(exitConfig, hint, "%w; nothing was sent", err)
	})
	root.AddCommand(
		a.initCommand(), a.checkCommand(), a.runCommand(), a.statusCommand(), a.reconcileCommand(),
		a.reportCommand(), a.showCommand(), a.logCommand(), a.retryCommand(), a.cancelCommand(), a.resolveCommand(), a.serveCommand(), a.backupCommand(), a.doctorCommand(),
		a.pingCommand(), a.signatureCommand(), a.demoCommand(), a.manCommand(), a.versionCommand(),
	)
	for _, c := range root.Commands() {
		if e := examples[c.Name()]; e != "" {
			c.Example = "  " + strings.ReplaceAll(e, "\n", "\n  ")
		}
	}
	return root
}

// args checks the number of arguments.
func args(least, most int, want string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return failf(exitConfig, "usage: "+c.UseLine(), "%s: want %s; nothing was sent", c.Name(), want)
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

func (c *config) rules() payout.Rules {
	return payout.Rules{StatusAfter: c.Gate.StatusAfter, QuietPeriod: c.Gate.QuietPeriod, Aliases: c.aliases(), BarsRetry: gate.BarsRetry}
}

// gateClient makes the client and its limiter; close releases both.
func (c *config) gateClient(s store.Store) (client *gate.Client, closer func(), err error) {
	return c.clientOf(c.Gate.BaseURL, s)
}

// otherGate makes a client for a gate that payouts were sent to before, by its
// identity. One that an older masspay kept is a host alone.
func (c *config) otherGate(s store.Store) func(identity string) (*gate.Client, error) {
	return func(identity string) (*gate.Client, error) {
		address := identity
		if !strings.Contains(address, "://") {
			address = "https://" + address
		}
		if isExample(address) {
			return nil, errors.New("it is an example's address")
		}
		client, _, err := c.clientOf(address, s) // its limiter is closed with the process
		return client, err
	}
}

// aliases are the identities of gates that the configuration declares to be one.
func (c *config) aliases() []string {
	if len(c.Gate.Aliases) == 0 {
		return nil
	}
	var ids []string
	for _, u := range append([]string{c.Gate.BaseURL}, c.Gate.Aliases...) {
		if id, err := payout.GateIdentity(u); err == nil { // validated before
			ids = append(ids, id)
		}
	}
	return ids
}

// reconciler polls as the configuration says.
func (c *config) reconciler(s store.Store, client *gate.Client, notify func(string)) *batch.Reconciler {
	return &batch.Reconciler{
		Store: s, Gate: client, Workers: c.Gate.Workers, Timeout: c.Gate.Timeout, StatusAfter: c.Gate.StatusAfter,
		Aliases: c.aliases(), Others: c.otherGate(s), Notify: notify,
	}
}

func (c *config) clientOf(address string, s store.Store) (client *gate.Client, closer func(), err error) {
	keys, err := c.secrets()
	if err != nil {
		return nil, nil, err
	}
	if err := proxyError(os.Environ()); err != nil {
		return nil, nil, err
	}
	limiter, err := s.Limiter(c.Gate.Rate, c.Gate.Burst)
	if err != nil {
		return nil, nil, err
	}
	client, err = gate.NewClient(gate.Options{
		BaseURL: address, Keys: keys, Limiter: limiter, Timeout: c.Gate.Timeout,
		Transport: transport.New(c.Gate.Workers), Version: version, MaySend: s.MaySend,
	})
	if err != nil {
		return nil, nil, errors.Join(err, limiter.Close())
	}
	return client, func() { client.Close(); _ = limiter.Close() }, nil
}

// proxyError says that the environment names a proxy that cannot be read: Go leaves it
// out without a word, and requests would leave by another way than was meant.
func proxyError(environ []string) error {
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch strings.ToUpper(name) {
		case "HTTPS_PROXY", "HTTP_PROXY":
		default:
			continue
		}
		if value == "" || readableProxy(value) || !strings.Contains(value, "://") && readableProxy("http://"+value) {
			continue
		}
		return failf(exitConfig, "as in "+name+"=http://proxy.example:3128, or take it out", "%s is no address of a proxy; nothing was sent", name)
	}
	return nil
}

func readableProxy(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Hostname() != "" && (strings.Contains(u.Host, "[") || !strings.Contains(u.Hostname(), ":")) && !wrongPort(u) && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}

// record keeps who runs what.
func (a *app) record(ctx context.Context, c *config, s store.Store, command, file, batchID string) error {
	name, host := whoami()
	n, err := s.Record(ctx, store.Run{
		Command: command, User: name, Host: host, Aliases: c.Gate.Aliases, PID: os.Getpid(), Version: version, Config: c.hash(),
		File: file, Batch: batchID, At: time.Now().UTC(),
	})
	a.ran.number, a.ran.config = n, c
	return err
}

// batch finds a batch by its id or the beginning of it, by a file that is there, whose
// content was loaded, or by the name that its file had, where that means one.
func (a *app) batch(ctx context.Context, s store.Store, name string) (store.Batch, error) {
	b, err := s.Batch(ctx, name)
	if !errors.Is(err, store.ErrNoBatch) {
		return b, err
	}
	var found []store.Batch
	for b, listed := range s.Batches(ctx) {
		if listed != nil {
			return b, listed
		}
		if b.Name == filepath.Base(name) {
			found = append(found, b)
		}
	}
	missing := failf(exitConfig, "masspay status lists the batches", "%q: %w; nothing was changed or sent", name, store.ErrNoBatch)
	if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() {
		// What is in it counts, and not what it is called.
		in, err := payfile.Open(name, nil)
		if err != nil {
			return b, err
		}
		defer func() { _ = in.Close() }()
		if b, err = payfile.LoadedAs(ctx, s, in); !errors.Is(err, store.ErrNoBatch) {
			return b, err
		}
		if len(found) == 0 {
			return b, missing
		}
		return b, failf(exitConfig, "masspay status "+found[len(found)-1].Short()+" shows the newest one that had this name",
			"%s is not loaded as it is now; files of this name were, with another content; nothing was changed or sent", name)
	}
	switch {
	case len(found) == 0 || filepath.Base(name) != name:
		return b, missing
	case len(found) == 1:
		return found[0], nil
	}
	newest := found[len(found)-1]
	return b, failf(exitConfig, fmt.Sprintf("masspay status %s shows the newest of them, loaded %s; masspay status lists all", newest.Short(), newest.LoadedAt.Format(time.RFC3339)),
		"%s had a file called %s: name one by its id; nothing was changed or sent", count(len(found), "batch"), name)
}

// whoami is who runs this, and where.
func whoami() (name, host string) {
	name = "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ = os.Hostname() // an empty one is a fact too
	return name, host
}

// person is who runs this, as decisions are signed.
func person() string {
	name, host := whoami()
	return name + "@" + host
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

func (e *expectFlags) expect(c *config) (payfile.Expect, error) {
	out := payfile.Expect{Rows: e.rows}
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

// say writes a line for people. What comes from files and from the gate cannot steer
// their terminals.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintln(a.w.stderr, withoutControls(fmt.Sprintf(format, args...)))
}

// withoutControls replaces what a terminal obeys instead of showing it, but for the
// ends of lines.
func withoutControls(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return '\ufffd'
		}
		return r
	}, s)
}
