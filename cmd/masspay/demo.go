package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"masspay/gate/gatesim"
	"masspay/samples"
)

func (a *app) demoCommand() *cobra.Command {
	var folder string
	var hostile bool
	var seed uint64
	c := &cobra.Command{
		Use:   "demo",
		Short: "An end-to-end demo against a simulator, no configuration needed",
		Long: `Pay a sample file of 50 rows, some of which go wrong, through a simulated gate
on this machine: this program as it is, a real store, real HTTP, real signed
callbacks. No money moves. Takes some ten seconds.

With --hostile the gate cuts connections, hangs, answers late or nonsense, loses
and repeats callbacks, and pays whatever reaches it, twice if it is asked twice;
and this program is killed, suspended and started again in the middle. At the
end the gate's ledger stands beside the result. Takes about a minute.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hostile {
				return a.demoHostile(cmd.Context(), folder, seed)
			}
			return a.demo(cmd.Context(), folder)
		},
	}
	c.Flags().BoolVar(&hostile, "hostile", false, "a gate that misbehaves, and a program that is killed")
	c.Flags().Uint64Var(&seed, "seed", 0, "with --hostile: the `SEED` of the night (default: another one each time)")
	c.Flags().StringVar(&folder, "folder", "", "work in this new `FOLDER` and keep it (default: a temporary one, which is removed)")
	return c
}

// demo is one performance.
type demo struct {
	a      *app
	folder string
	self   string // this program

	temporary bool // the folder goes with the performance
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

func (a *app) demo(ctx context.Context, folder string) error {
	sample, err := samples.Files.ReadFile("kyrgyzstan.csv")
	if err != nil {
		return err
	}
	d, end, err := a.stage(folder, sample, politeSettings, gatesim.Config{VerdictAfter: 600 * time.Millisecond, StatusLag: 300 * time.Millisecond})
	if err != nil {
		return err
	}
	defer end()
	return d.leave(d.play(ctx))
}

// leave removes a temporary folder, unless something in it is worth a look.
func (d *demo) leave(err error) error {
	if !d.temporary {
		return err
	}
	var e *ended
	if err != nil && !errors.As(err, &e) && !errors.Is(err, context.Canceled) {
		d.a.say("folder: %s", d.folder)
		return err
	}
	if removed := os.RemoveAll(d.folder); removed != nil {
		return errors.Join(err, removed)
	}
	d.a.say("hint: masspay demo --folder demo keeps it all: the configuration, the store, the result")
	return err
}

// stage sets up a folder and a simulator; settings are those of the gate.
func (a *app) stage(folder string, input []byte, settings string, cfg gatesim.Config) (d *demo, end func(), err error) {
	d = &demo{a: a, folder: folder, temporary: folder == ""}
	if folder == "" {
		if d.folder, err = os.MkdirTemp("", "masspay-demo-"); err != nil {
			return nil, nil, err
		}
	} else if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, nil, err
	}
	if d.self, err = os.Executable(); err != nil {
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
	d.a.say("masspay demo: 50 payouts through a simulated gate; no money moves")
	if !d.temporary {
		d.a.say("folder: %s", d.folder)
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
	d.a.say("\nThe same file again, under another name: nothing is sent a second time.")
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
	d.a.say("\nThe gate's own ledger: %s accepted, %s paid twice, %s in the second run.",
		count(st.Payouts, "payout"), count(st.Doubles, "payout"), count(st.Requests-sent, "request"))
	result := filepath.Join(d.folder, "result.csv")
	lines, err := firstLines(result, 6)
	if err != nil {
		return err
	}
	d.a.say("The result, some columns of its first rows:")
	for _, l := range lines {
		d.a.say("  %s", l)
	}
	if !d.temporary {
		d.a.say("result: %s", result)
	}
	j, err := d.judged("again.csv")
	if err != nil {
		return err
	}
	for _, f := range j.Faults {
		d.a.say("  %s", f)
	}
	if !j.OK() || st.Doubles != 0 || st.OtherBody != 0 || st.Requests != sent {
		return errors.New("the ledger shows what must never happen")
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
		j.Faults = append(j.Faults, "nobody asked for "+id)
	}
	return j, nil
}

// step runs this program as a person would. Exit codes 3 and 4 are results.
func (d *demo) step(ctx context.Context, args ...string) error {
	d.a.say("\n$ masspay %s", strings.Join(args, " "))
	cmd := d.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = d.a.w.stdout, d.a.w.stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == exitNotAllPaid || exit.ExitCode() == exitOpen) {
		d.a.say("(exit code %d: %s)", exit.ExitCode(), map[int]string{
			exitNotAllPaid: "done, and some rows were not paid", exitOpen: "done, and some outcomes are open or must be checked",
		}[exit.ExitCode()])
		return nil
	}
	return err
}

func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.self, args...) //nolint:gosec // this program itself
	cmd.Dir = d.folder
	cmd.Env = append(os.Environ(), "MASSPAY_CONFIG=masspay.yaml")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// serve starts masspay serve and tells the simulator where it listens.
func (d *demo) serve(ctx context.Context) (stop func(), err error) {
	d.a.say("\n$ masspay serve &")
	cmd, address, err := d.startServe(ctx)
	if err != nil {
		return nil, err
	}
	d.a.say("taking callbacks on %s", address)
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}, nil
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
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "taking callbacks" {
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
