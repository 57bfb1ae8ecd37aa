// Command gatesim is a payment gateway for tests, polite or hostile, that
// listens on loopback only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"masspay/gate/gatesim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "gatesim:", err)
		os.Exit(1)
	}
}

// pairs is a flag that may be given more than once.
type pairs []string

func (p *pairs) String() string     { return strings.Join(*p, ",") }
func (p *pairs) Set(s string) error { *p = append(*p, s); return nil }

func run(ctx context.Context, args []string, out io.Writer) error {
	fl := flag.NewFlagSet("gatesim", flag.ContinueOnError)
	fl.SetOutput(out)
	var faults, projects pairs
	listen := fl.String("listen", "127.0.0.1:9090", "API address, loopback only")
	manage := fl.String("manage", "127.0.0.1:9091", "management address (GET /ledger, /history, /stats), loopback only")
	callback := fl.String("callback", "", "URL for callbacks; empty: none")
	seed := fl.Uint64("seed", 1, "seed of the faults")
	hostile := fl.Bool("hostile", false, "every fault at a small rate")
	payEvery := fl.Bool("pay-every", false, "pay every accepted POST, also of a known id")
	bare := fl.Bool("bare", false, "answer at once and remember nothing, for load tests")
	outcome := fl.Duration("outcome-after", time.Second, "from acceptance to outcome")
	lag := fl.Duration("status-lag", 2*time.Second, "until the status endpoint knows of a payment")
	judge := fl.String("judge", "", "hold the ledger of the gate at this management address against INPUT and RESULT, two files, and end")
	fl.Var(&faults, "fault", "a fault and its rate, as cut-after=0.05; may be repeated")
	fl.Var(&projects, "project", "a project and its secret, as 1234=secret; may be repeated")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if *judge != "" {
		return judged(ctx, *judge, fl.Args(), out)
	}
	cfg := gatesim.Config{
		Seed: *seed, Callback: *callback, PayEvery: *payEvery, Bare: *bare,
		OutcomeAfter: *outcome, StatusLag: *lag, Projects: map[uint32]string{},
	}
	if *hostile {
		cfg.Rates = gatesim.Hostile()
	}
	rates, err := gatesim.ParseRates(faults)
	if err != nil {
		return err
	}
	for f, r := range rates {
		if cfg.Rates == nil {
			cfg.Rates = map[gatesim.Fault]float64{}
		}
		cfg.Rates[f] = r
	}
	for _, p := range projects {
		id, secret, ok := strings.Cut(p, "=")
		n, err := strconv.ParseUint(id, 10, 32)
		if !ok || err != nil {
			return fmt.Errorf("project %q: write it as 1234=secret", p)
		}
		cfg.Projects[uint32(n)] = secret
	}
	if len(cfg.Projects) == 0 {
		return errors.New("no project: give one as -project 1234=secret")
	}
	return serve(ctx, gatesim.New(cfg), *listen, *manage, out)
}

// judged says what the ledger of a running gate says of a file and its result.
func judged(ctx context.Context, manage string, files []string, out io.Writer) error {
	if len(files) != 2 {
		return errors.New("-judge wants an input and a result")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, manage+"/ledger", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var ledger []gatesim.Entry
	if err := json.NewDecoder(res.Body).Decode(&ledger); err != nil {
		return err
	}
	var texts [2][]byte
	for i, name := range files {
		if texts[i], err = os.ReadFile(name); err != nil { //nolint:gosec // the files that it was told
			return err
		}
	}
	j := gatesim.Judge(ledger, texts[0], texts[1], ';')
	_, _ = fmt.Fprintf(out, "%d rows, %d payments in the gate's ledger: paid twice %d, lost %d, left open by the result %d\n", j.Rows, j.Paid, j.Twice, j.Lost, j.Open)
	for _, f := range j.Faults {
		_, _ = fmt.Fprintln(out, f)
	}
	if !j.OK() {
		return errors.New("the result is not what the ledger says")
	}
	return nil
}

func serve(ctx context.Context, sim *gatesim.Sim, listen, manage string, out io.Writer) error {
	defer sim.Close()
	g, gctx := errgroup.WithContext(ctx)
	for _, s := range []struct {
		address, what string
		handler       http.Handler
	}{{listen, "API", sim}, {manage, "management", sim.Management()}} {
		l, err := gatesim.Listen(s.address)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "gatesim: %s on http://%s\n", s.what, l.Addr())
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second}
		g.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		g.Go(func() error {
			<-gctx.Done()
			return server.Close()
		})
	}
	return g.Wait()
}
