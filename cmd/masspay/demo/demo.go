// Package demo pays a sample file through a simulated gate: the program as it is, a real
// store, real HTTP, real signed callbacks. No money moves, and nothing of the user's is
// touched.
package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"masspay/gate/gatesim"
	"masspay/payout"
	"masspay/samples"
	"masspay/web"
)

// Demo says how and where to play.
type Demo struct {
	Self   string                           // path of the program
	Folder string                           // a new folder to work in and keep; empty: a temporary one, which is removed
	Say    func(format string, args ...any) // a line for people
	Stdout io.Writer                        // of the commands
	Stderr io.Writer
	Ends   map[int]string // exit codes of commands that are results and no failures, in words

	// Serve leaves the pages of the store open when all is done, until the context ends.
	Serve bool
}

// FaultError says that the ledger shows what must never happen.
type FaultError struct{ Hint string }

func (*FaultError) Error() string { return "the ledger shows what must never happen" }

// demo is one performance.
type demo struct {
	Demo
	folder string

	temporary bool   // the folder goes with the performance
	pages     string // where the last masspay serve shows pages
	sim       *gatesim.Sim
}

const demoSecret = "demo-secret"

const demoConfig = `gate:
  base_url: http://%s
%sprojects:
  - id: 1234
    secret_file: 1234.secret
store:
  path: masspay.db
  key_file: store.key
callbacks:
  listen: 127.0.0.1:0
`

const politeSettings = `  rate: 50
  status_after: 1s
  quiet_period: 3s
`

// Play pays a file of 50 rows, and the same file once more.
func (o Demo) Play(ctx context.Context) error {
	sample, err := samples.Files.ReadFile("kyrgyzstan.csv")
	if err != nil {
		return err
	}
	d, end, err := o.stage(sample, politeSettings, gatesim.Config{OutcomeAfter: 600 * time.Millisecond, StatusLag: 300 * time.Millisecond})
	if err != nil {
		return err
	}
	defer end()
	return d.leave(ctx, d.play(ctx))
}

// leave removes a temporary folder, unless something in it is worth a look.
func (d *demo) leave(ctx context.Context, err error) error {
	if err == nil && d.Serve {
		err = d.show(ctx)
	}
	if !d.temporary {
		return err
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		d.Say("folder: %s", d.folder)
		return err
	}
	if removed := os.RemoveAll(d.folder); removed != nil {
		return errors.Join(err, removed)
	}
	d.Say("hint: masspay demo --folder demo keeps it all: the configuration, the store, the result")
	return err
}

// stage sets up a folder and a simulator; settings are those of the gate.
func (o Demo) stage(input []byte, settings string, cfg gatesim.Config) (d *demo, end func(), err error) {
	d = &demo{Demo: o, folder: o.Folder, temporary: o.Folder == ""}
	if d.temporary {
		if d.folder, err = os.MkdirTemp("", "masspay-demo-"); err != nil {
			return nil, nil, err
		}
	} else if err := os.Mkdir(d.folder, 0o700); err != nil {
		return nil, nil, err
	}
	l, err := gatesim.Listen("127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	cfg.Projects = map[uint32]string{1234: demoSecret}
	d.sim = gatesim.New(cfg)
	gateway := &http.Server{Handler: d.sim, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = gateway.Serve(l) }()
	end = func() {
		_ = gateway.Close()
		d.sim.Close()
	}
	if err := d.write(input, fmt.Sprintf(demoConfig, l.Addr(), settings)); err != nil {
		end()
		return nil, nil, err
	}
	return d, end, nil
}

func (d *demo) write(input []byte, config string) error {
	for name, text := range map[string]string{
		"payouts.csv": string(input), "1234.secret": demoSecret + "\n", "masspay.yaml": config,
	} {
		if err := os.WriteFile(filepath.Join(d.folder, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) play(ctx context.Context) error {
	d.Say("masspay demo: 50 payouts through a simulated gate; no money moves")
	if !d.temporary {
		d.Say("folder: %s", d.folder)
	}
	if err := d.step(ctx, "init"); err != nil {
		return err
	}
	if err := d.step(ctx, "ping"); err != nil {
		return err
	}
	if err := d.step(ctx, "check", "payouts.csv"); err != nil {
		return err
	}
	stop, err := d.serve(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := d.step(ctx, "run", "payouts.csv", "-o", "result.csv", "--wait", "4s"); err != nil {
		return err
	}
	sent := d.sim.Stats().Requests
	d.Say("\nThe same file again, under another name: nothing is sent a second time.")
	if err := os.Rename(filepath.Join(d.folder, "payouts.csv"), filepath.Join(d.folder, "again.csv")); err != nil {
		return err
	}
	if err := d.step(ctx, "run", "again.csv", "-o", "result.csv", "--wait", "0"); err != nil {
		return err
	}
	return d.judge(sent)
}

// judge holds the result against the simulator's ledger.
func (d *demo) judge(sent int) error {
	st := d.sim.Stats()
	d.Say("\nThe gate's own ledger: %s accepted, %s paid twice, %s in the second run.",
		payout.FormatQuantity(st.Payouts, "payout"), payout.FormatQuantity(st.Doubles, "payout"), payout.FormatQuantity(st.Requests-sent, "request"))
	result := filepath.Join(d.folder, "result.csv")
	lines, err := firstLines(result, 6)
	if err != nil {
		return err
	}
	d.Say("The result, some columns of its first rows:")
	for _, l := range lines {
		d.Say("  %s", l)
	}
	if !d.temporary {
		d.Say("result: %s", result)
	}
	j, err := d.judged("again.csv")
	if err != nil {
		return err
	}
	for _, f := range j.Faults {
		d.Say("  %s", f)
	}
	if !j.OK() || st.Doubles != 0 || st.OtherBody != 0 || st.Requests != sent {
		return &FaultError{}
	}
	return nil
}

// judged lets the simulator, which knows nothing of masspay, hold the result
// against its own ledger.
func (d *demo) judged(input string) (gatesim.Judgement, error) {
	asked, err := os.ReadFile(filepath.Join(d.folder, input)) //nolint:gosec // the file of the performance
	if err != nil {
		return gatesim.Judgement{}, err
	}
	result, err := os.ReadFile(filepath.Join(d.folder, "result.csv"))
	if err != nil {
		return gatesim.Judgement{}, err
	}
	ledger := d.sim.Ledger()
	j := gatesim.Judge(ledger, asked, result, ';')
	for _, id := range gatesim.Unasked(ledger, ';', asked) {
		j.Faults = append(j.Faults, "no one asked for "+id)
	}
	return j, nil
}

// step runs this program as a person would. Exit codes 3 and 4 are results.
func (d *demo) step(ctx context.Context, args ...string) error {
	d.Say("\n$ masspay %s", strings.Join(args, " "))
	cmd := d.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = d.Stdout, d.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && d.Ends[exit.ExitCode()] != "" {
		d.Say("(exit code %d: %s)", exit.ExitCode(), d.Ends[exit.ExitCode()])
		return nil
	}
	return err
}

func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.Self, args...) //nolint:gosec // this program itself
	cmd.Dir = d.folder
	cmd.Env = append(os.Environ(), "MASSPAY_CONFIG=masspay.yaml")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// serve starts masspay serve and tells the simulator where it listens.
func (d *demo) serve(ctx context.Context) (stop func(), err error) {
	d.Say("\n$ masspay serve &")
	cmd, address, err := d.startServe(ctx)
	if err != nil {
		return nil, err
	}
	d.Say("taking callbacks on %s", address)
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}, nil
}

// show opens the pages of the store, with a token of their own, until the context ends.
func (d *demo) show(ctx context.Context) error {
	token, line, err := web.NewToken("demo")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.folder, "tokens"), []byte(line+"\n"), 0o600); err != nil {
		return err
	}
	config, err := os.OpenFile(filepath.Join(d.folder, "masspay.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = config.WriteString("admin:\n  listen: 127.0.0.1:0\n  tokens_file: tokens\n")
	if err := errors.Join(err, config.Close()); err != nil {
		return err
	}
	cmd, _, err := d.startServe(ctx)
	if err != nil {
		return err
	}
	d.Say("\nWhat people see of it, until Ctrl-C: http://demo:%s@%s/", token, d.pages)
	<-ctx.Done()
	_ = cmd.Wait() // it ends with the context
	return nil
}

// startServe starts masspay serve and waits until it listens.
func (d *demo) startServe(ctx context.Context) (cmd *exec.Cmd, address string, err error) {
	cmd = d.command(ctx, "serve")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var entry struct {
			Msg    string `json:"msg"`
			Listen string `json:"listen"`
			Path   string `json:"path"`
		}
		if json.Unmarshal(lines.Bytes(), &entry) != nil {
			continue
		}
		if entry.Msg == "health and pages" {
			d.pages = entry.Listen
		}
		if entry.Msg == "taking callbacks" {
			address = "http://" + entry.Listen + entry.Path
			d.sim.SetCallback(address)
			go func() {
				for lines.Scan() { // keep the pipe from filling
				}
			}()
			return cmd, address, nil
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil, "", errors.New("masspay serve did not start")
}

// demoColumns are those of the result that a person looks at first.
var demoColumns = []string{"general.payment_id", "payment.amount", "result.state", "result.code", "result.action", "result.note"}

func firstLines(path string, n int) ([]string, error) {
	b, err := os.ReadFile(path) //nolint:gosec // written a moment ago
	if err != nil {
		return nil, err
	}
	return pick(bytes.NewReader(b), n, demoColumns)
}
