package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// follower does what a clerk does: it pastes each command of each hint that the scripts
// bring about, there and then. A script that goes another way since is played again, from
// its beginning, to the hints that it has not come to.
type follower struct {
	mu   sync.Mutex
	seen map[string]bool
}

// TestHintsAreFollowed pastes every hint that the scripts bring about, once for each kind
// of command that gives it. What was pasted ends as a command ends: it is no slip in the
// usage, nothing unexpected, and no hint leads to itself; and at the gate, which pays every
// request, nothing is ever paid twice.
func TestHintsAreFollowed(t *testing.T) {
	t.Parallel()
	if raceDetector {
		t.Skip("every start of the program takes long with the race detector; make check runs it without")
	}
	files, err := filepath.Glob("testdata/script/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	f := &follower{seen: map[string]bool{}}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			for again := true; again; {
				one := &onePlay{t: t, follower: f}
				p := scripts(one)
				p.Dir, p.Files, p.Deadline = "", []string{file}, time.Now().Add(time.Minute)
				testscript.RunT(one, p)
				if one.wrong != "" || one.failed && !one.followed {
					t.Error(one.wrong, one.said.String())
				}
				again = one.wrong == "" && one.failed && one.followed
			}
		})
	}
	t.Cleanup(func() {
		t.Logf("%d hints followed", len(f.seen))
		require.Greater(t, len(f.seen), 25)
	})
}

// onePlay is a play of a script that may end with a hint.
type onePlay struct {
	t *testing.T
	*follower
	followed, failed bool
	wrong            string // what following a hint led to
	said             strings.Builder
}

func (o *onePlay) Run(_ string, play func(testscript.T)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		play(o)
	}()
	<-done
}

func (o *onePlay) Parallel()     {}
func (o *onePlay) Verbose() bool { return false }
func (o *onePlay) Skip(...any)   { runtime.Goexit() }
func (o *onePlay) Log(a ...any)  { _, _ = fmt.Fprintln(&o.said, a...) }
func (o *onePlay) Fatal(a ...any) {
	o.Log(a...)
	o.FailNow()
}

func (o *onePlay) FailNow() {
	o.failed = true
	runtime.Goexit()
}

// follow pastes the commands of a hint, unless they were pasted before behind such a command.
func (o *onePlay) follow(ts *testscript.TestScript, after []string, code int, hint string) {
	for _, words := range commandsIn(hint) {
		if line := strings.Join(words, " "); slices.ContainsFunc(endless, func(e string) bool { return strings.HasPrefix(line, e) }) || !o.first(after, code, words) {
			continue
		}
		ts.Logf("following: masspay %q", words)
		ends, said := paste(ts, words)
		text := fmt.Sprintf("masspay %s\nhint: %s\n> masspay %s\nexit %d\n%s", strings.Join(after[1:], " "), hint, strings.Join(words, " "), ends, said)
		switch ends {
		case exitDone, exitNotAllPaid, exitOpen, exitFile, exitBusy, exitConfig:
		default:
			if ends == code {
				break // as it did before
			}
			o.isWrong(ts, "it ends with %d: %s", ends, text)
		}
		for _, slip := range []string{"no such command", "--help lists the", "panic"} {
			if strings.Contains(said, slip) {
				o.isWrong(ts, "it is no command: %s", text)
			}
		}
		asFirst := strings.Contains(hint, "then masspay "+strings.Join(words, " ")) // a person does something before
		if slices.Equal(words, after[1:]) && ends == code && ends >= exitFile && !asFirst {
			o.isWrong(ts, "it leads to itself: %s", text)
		}
		sim, _ := ts.Value("sim").(*simOf)
		for _, e := range sim.sim.Ledger() {
			if e.Accepted > 1 {
				o.isWrong(ts, "%s was paid twice: %s", e.Key, text)
			}
		}
		o.followed = true
	}
}

func (o *onePlay) isWrong(ts *testscript.TestScript, format string, args ...any) {
	o.wrong = fmt.Sprintf(format, args...)
	ts.Fatalf("%s", o.wrong)
}

// first says whether a command was not pasted yet behind such a command and ending.
func (f *follower) first(after []string, code int, words []string) bool {
	kind := []string{strings.Join(after[:min(2, len(after))], " "), fmt.Sprint(code)}
	for i, w := range words {
		if i == 0 || strings.HasPrefix(w, "-") {
			kind = append(kind, w)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := strings.Join(kind, " ")
	was := f.seen[key]
	f.seen[key] = true
	return !was
}

// placeholder is a word that a person writes something else for.
var placeholder = regexp.MustCompile(`^[A-Z_]+$`)

// commandsIn are the commands of a hint, each without the words that it goes on in.
func commandsIn(hint string) (commands [][]string) {
	if i := strings.LastIndex(hint, ": masspay "); i >= 0 {
		commands = append(commands, shellWords(hint[i+len(": masspay "):]))
		hint = hint[:i]
	}
	for rest := hint; ; {
		_, after, ok := strings.Cut(rest, "masspay ")
		if !ok {
			return commands
		}
		rest = after
		words := shellWords(after)
		for n := 1; n <= len(words); n++ {
			c, args, err := (&app{}).root().Find(words[:n])
			if err != nil || !c.HasParent() || c.ParseFlags(args) != nil || c.ValidateArgs(c.Flags().Args()) != nil {
				continue
			}
			if n < len(words) && (strings.HasPrefix(words[n], "-") || strings.HasPrefix(words[n-1], "-") && c.ValidateArgs(append(c.Flags().Args(), "x")) != nil) {
				continue // there is more of it
			}
			if n == len(words) || !placeholder.MatchString(words[n]) {
				commands = append(commands, words[:n])
			}
			break
		}
	}
}

// endless are the commands that go on until they are stopped: only parsed.
var endless = []string{"serve", "work", "status --watch"}

// paste runs a command where the script is, without a terminal.
func paste(ts *testscript.TestScript, words []string) (code int, said string) {
	err := ts.Exec("masspay", words...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("masspay %q: %v", words, err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, ts.ReadFile("stdout") + ts.ReadFile("stderr")
}
