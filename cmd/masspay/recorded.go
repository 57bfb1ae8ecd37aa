package main

import (
	"context"
	"errors"
	"os"
	"os/user"
	"strings"
	"time"

	"masspay/store"
)

// recorded is a run that the store knows of, until its end is recorded too.
type recorded struct {
	number uint64 // 0: none
	config *config
	end    store.RunEnd

	relaxed []string // flags that take something off the checks
	headed  bool     // its last line is the head of the audit log
}

// neverSends are commands that make no payments: "nothing was sent" would sound there as
// if something could have been.
var neverSends = map[string]bool{"serve": true, "backup": true, "demo": true, "man": true, "version": true, "licenses": true, "signature": true, "completion": true}

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
		err = s.EndRun(context.Background(), r.number, r.end)
		a.lastFigures(r.config, s)
		if err == nil && a.ran.headed {
			err = a.sayHead(context.Background(), s)
		}
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		a.say("warning: masspay log will not show how this run ended: %s", oneLine(err.Error()))
	}
	return code
}

// record keeps who runs what.
func (a *app) record(ctx context.Context, c *config, s store.Store, command, file, batchID string) error {
	r := c.acting()
	r.Command, r.File, r.Batch, r.Relaxed, r.At = command, file, batchID, a.ran.relaxed, time.Now().UTC()
	n, err := s.BeginRun(ctx, r)
	a.ran.number, a.ran.config = n, c
	return err
}

// acting is who acts, for the log.
func (c *config) acting() store.Run {
	name, host := whoami()
	return store.Run{User: name, Host: host, Aliases: c.Gate.Aliases, PID: os.Getpid(), Version: version, Config: c.hash()}
}

// whoami is who runs this, and where.
func whoami() (name, host string) {
	name = "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if login := loginUser("/proc/self/loginuid"); login != "" && login != name {
		name = login + actingAs + name
	}
	host, _ = os.Hostname() // an empty one is a fact too
	return name, host
}

// actingAs divides who logged in from the user that they work as: anna as masspay.
const actingAs = " as "

// loginUser is who logged in to come here, which the kernel keeps over su, sudo and runuser
// (proc_pid_loginuid(5)); empty: nobody did, as in a service, or it is not known.
func loginUser(path string) string {
	id, err := os.ReadFile(path) //nolint:gosec // the kernel's
	if err != nil {
		return ""
	}
	u, err := user.LookupId(strings.TrimSpace(string(id))) // nobody has 4294967295, which stands for none
	if err != nil {
		return ""
	}
	return u.Username
}

// isPerson reports whether a recorded person is one that was asked for: as it is recorded, or who
// logged in.
func isPerson(wanted, recorded string) bool {
	login, _, acting := strings.Cut(recorded, actingAs)
	return wanted == recorded || acting && wanted == login
}

// person is who runs this, as decisions are signed.
func person() string {
	name, host := whoami()
	return name + "@" + host
}
