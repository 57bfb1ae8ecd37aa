package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
	"masspay/samples"
)

// The test binary is the program too: scripts and crash tests run it as a
// process of its own.
func TestMain(m *testing.M) {
	// Most tests here wait for processes more than they compute; -parallel says otherwise.
	_ = flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))) // it is there
	testscript.Main(m, map[string]func(){"masspay": main, "masspay-mortal": mortalMain})
}

const testConfig = `gate:
  base_url: %s
  rate: 1000
  timeout: 2s
  status_after: 200ms
  quiet_period: 2s
projects:
  - id: 1234
    secret_file: 1234.secret
store:
  path: masspay.db
  key_file: store.key
callbacks:
  listen: 127.0.0.1:0
`

// simOf is a script's simulator, made on the first use of the environment.
type simOf struct{ sim *gatesim.Sim }

// TestScripts runs testdata/script: every rule of the command line as a text
// file that a person can read. Each script has a polite simulator, a working
// configuration, and the samples.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scripts(nil))
}

// scripts is how scripts are played; one follows their hints, nil: they are only parsed.
func scripts(one *onePlay) testscript.Params {
	return testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Values["play"] = one
			sim := gatesim.New(gatesim.Config{
				Projects: map[uint32]string{1234: "secret"}, OutcomeAfter: 100 * time.Millisecond, PayEvery: true,
			})
			server := httptest.NewServer(sim)
			e.Defer(func() {
				sim.Close()
				server.CloseClientConnections()
				server.Close()
			})
			e.Values["sim"] = &simOf{sim}
			e.Setenv("GATE", server.URL)
			wrong := &wrongGate{}
			notFound := httptest.NewServer(wrong)
			e.Defer(notFound.Close)
			e.Values["wrong"] = wrong
			other := httptest.NewServer(gatesim.New(gatesim.Config{Projects: map[uint32]string{1234: "secret"}}))
			e.Defer(other.Close)
			e.Setenv("OTHER", other.URL)
			e.Setenv("WRONG", notFound.URL)
			return prepare(e.WorkDir, server.URL)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    exits,
			"requests": requests,
			"mode":     mode,
			"wrong":    wrong,

			"cancelrow": cancelRow,
		},
	}
}

// wrongGate is a web server that is no gate, at the other end of an address with a slip
// in it.
type wrongGate struct{ n atomic.Int64 }

func (g *wrongGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.n.Add(1)
	http.NotFound(w, r)
}

// wrong N wants that the server that is no gate has seen N requests.
func wrong(ts *testscript.TestScript, _ bool, args []string) {
	g, _ := ts.Value("wrong").(*wrongGate)
	if got := fmt.Sprint(g.n.Load()); got != args[0] {
		ts.Fatalf("the server that is no gate has seen %s requests, want %s", got, args[0])
	}
}

// cancelrow FILE PAYMENT_ID CODE cancels one row of the batch of a file, and wants an
// exit code.
func cancelRow(ts *testscript.TestScript, neg bool, args []string) {
	sum := sha256.Sum256([]byte(ts.ReadFile(args[0])))
	exits(ts, neg, []string{args[2], "masspay", "cancel", hex.EncodeToString(sum[:6]), "--row", args[1]})
}

func prepare(folder, gate string) error {
	files := map[string]string{"masspay.yaml": fmt.Sprintf(testConfig, gate), "1234.secret": "secret\n"}
	for _, name := range []string{"kyrgyzstan.csv", "methods.csv", "problems.csv", "damaged.csv"} {
		b, err := samples.Files.ReadFile(name)
		if err != nil {
			return err
		}
		files[name] = string(b)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// exits CODE COMMAND [ARG ...] runs a command and wants an exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		if hint, ok := strings.CutPrefix(line, "hint: "); ok {
			ts.Check(pasted(strings.TrimSpace(hint)))
			if one, _ := ts.Value("play").(*onePlay); one != nil {
				one.follow(ts, args[1:], code, strings.TrimSpace(hint))
			}
		}
	}
}

// pasted makes sure that each command in a hint is one that the program takes, up to
// where the hint goes on in words.
func pasted(hint string) error {
	if i := strings.LastIndex(hint, ": masspay "); i >= 0 && !strings.HasPrefix(hint, "usage") {
		words := shellWords(hint[i+len(": masspay "):])
		c, args, err := (&app{}).root().Find(words)
		if err == nil {
			err = c.ParseFlags(args)
		}
		if err == nil {
			err = c.ValidateArgs(c.Flags().Args())
		}
		if err != nil {
			return fmt.Errorf("%s: it is no command that can be pasted: %w", hint, err)
		}
	}
	for hint != "" {
		_, rest, ok := strings.Cut(hint, "masspay ")
		if !ok {
			return nil
		}
		words := shellWords(rest)
		taken := 0
		for n := len(words); n > 0 && taken == 0; n-- {
			c, args, err := (&app{}).root().Find(words[:n])
			c.InitDefaultHelpFlag()
			if err == nil && c.HasParent() && c.ParseFlags(args) == nil && (c.Flags().Changed("help") || c.ValidateArgs(c.Flags().Args()) == nil) {
				taken = n
			}
		}
		if c, _, err := (&app{}).root().Find(words[:min(1, len(words))]); err == nil && c.HasParent() {
			if taken == 0 && !strings.Contains(c.Use, strings.Join(words[1:min(2, len(words))], "")) {
				return fmt.Errorf("hint: masspay %s: is no command that can be pasted", rest)
			}
			if taken < len(words) && strings.HasPrefix(words[taken], "-") {
				return fmt.Errorf("hint: masspay %s: %s is not taken", rest, words[taken])
			}
		}
		hint = rest
	}
	return nil
}

// shellWords splits as a shell does, for what ShellWord has quoted; a comma or a
// semicolon behind a word ends the command.
func shellWords(s string) (words []string) {
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			return words
		}
		word, end := "", false
		for s != "" && s[0] != ' ' && !end {
			switch {
			case s[0] == '\'':
				in, rest, _ := strings.Cut(s[1:], "'")
				word, s = word+in, rest
			case s[0] == '\\' && len(s) > 1:
				word, s = word+s[1:2], s[2:]
			case (s[0] == ',' || s[0] == ';') && (len(s) == 1 || s[1] == ' '):
				end = true
			default:
				word, s = word+s[:1], s[1:]
			}
		}
		if words = append(words, word); end {
			return words
		}
	}
}

// The check of hints sees what cannot be pasted.
func TestPasted(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"masspay run two.csv -o out.csv --ask-first asks the gate about each payout", "masspay init makes one",
		"look after the disk, then masspay doctor, then the same command with --ask-first: what was lost",
		"masspay ping says what is wrong; then masspay run --batch 0123 -o 'my r.csv' --wait 0s", "correct the file",
	} {
		require.NoError(t, pasted(good), good)
	}
	for _, bad := range []string{
		"masspay run two.csv -o out.csv --ask-frist asks the gate", "masspay ping; then masspay run --btach 0123", "masspay doctor --yes, then go on",
	} {
		require.Error(t, pasted(bad), bad)
	}
}

// requests N wants that the simulator has seen N payout requests, none twice.
func requests(ts *testscript.TestScript, _ bool, args []string) {
	s, _ := ts.Value("sim").(*simOf)
	n := 0
	for _, r := range s.sim.History() {
		if strings.HasSuffix(r.Path, "/payout") {
			n++
		}
	}
	if st := s.sim.Stats(); fmt.Sprint(n) != args[0] || st.Doubles > 0 {
		ts.Fatalf("the gate has seen %d payout requests and paid %d twice, want %s and 0", n, st.Doubles, args[0])
	}
}

// mode FILE PERM wants a file's permissions.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", st.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}
