package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"masspay/batch/payfile"
	"masspay/metrics"

	"github.com/spf13/cobra"
)

// app is what the commands share.
type app struct {
	w          world
	env        map[string]string
	configFlag string
	line       commandLine // that is running
	ran        recorded    // what the store keeps of this run

	process *metrics.Process // what this process counts itself
}

// run is the program: arguments in, exit code out. It is all that a test needs.
func run(ctx context.Context, args []string, w world) int {
	a := &app{w: w, env: masspayEnv(w.env), process: metrics.NewProcess()}
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
	f := a.explain(err, command.Name())
	if ctx.Err() != nil && f.code == exitUnexpected {
		f.code = exitInterrupted
	}
	f.print(w)
	return a.recordEnd(f.code, oneLine(f.err.Error()))
}

// sentNothing is what explain says of most errors.
var sentNothing = regexp.MustCompile(`((; |, )nothing (more )?was (changed or )?sent( by this run)?| before anything was sent)$`)

// explain is explain with what is true of this command. Dangerous to do without: after a
// request has left, no error may say that nothing was sent, whichever it is.
func (a *app) explain(err error, command string) *failure {
	f := *explain(err)
	sent := a.ran.end.Sent
	if neverSends[command] || sent > 0 {
		f.err = errors.New(sentNothing.ReplaceAllString(f.err.Error(), ""))
	}
	if sent > 0 && !strings.Contains(f.err.Error(), "has sent") {
		f.err = fmt.Errorf("%w (this run has sent %s: what they are for may be paid, do not pay it elsewhere)", f.err, count(sent, "request"))
	}
	if (a.line.name == "run" || a.line.name == "check") && len(a.line.args) > 0 {
		f.hint = strings.ReplaceAll(f.hint, "masspay check FILE", "masspay check "+a.line.args[0])
	}
	if a.line.name == "check" {
		f.hint, _, _ = strings.Cut(f.hint, "; masspay check ")
	}
	var file *payfile.FileError
	if (a.line.name == "run" || a.line.name == "check") && len(a.line.args) > 0 && a.line.args[0] != "-" && errors.As(err, &file) && file.Fixable() {
		f.hint += "; what has exactly one right form is put right by: masspay check " + shellWord(a.line.args[0]) + " --fix -o " + shellWord(fixedName(a.line.args[0]))
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
		a.reportCommand(), a.showCommand(), a.logCommand(), a.auditCommand(), a.exceptionsCommand(), a.seriesCommand(), a.retryCommand(), a.cancelCommand(), a.approveCommand(), a.approvalsCommand(), a.pauseCommand(), a.resumeCommand(), a.resolveCommand(), a.serveCommand(), a.tokenCommand(), a.workCommand(), a.storeCommand(), a.backupCommand(), a.doctorCommand(),
		a.pingCommand(), a.signatureCommand(), a.demoCommand(), a.manCommand(), a.versionCommand(), a.licensesCommand(), a.inboxCommand(),
	)
	for _, c := range root.Commands() {
		if e := examples[c.Name()]; e != "" {
			c.Example = "  " + strings.ReplaceAll(e, "\n", "\n  ")
		}
	}
	a.completions(root)
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
	c, err := loadConfig(file, a.env)
	if err == nil {
		c.waited = a.process.Waited
	}
	return c, err
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
