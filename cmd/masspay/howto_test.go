package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
	"masspay/samples"
)

// typed is a command of a document, with what it says there.
type typed struct {
	line    int
	command string
	says    []string // lines; … stands for anything within one, and alone for any lines; none: it works, and prints nothing
}

var fence = regexp.MustCompile("^ *```")

// commandsOf are the commands of a document that begin with "$ ": those of a user, which a test
// can run. Those of root begin with "# ".
func commandsOf(text string) (all []typed) {
	inside, says := false, false
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimSpace(l)
		command, is := strings.CutPrefix(l, "$ ")
		switch {
		case fence.MatchString(l):
			inside, says = !inside, false
		case inside && is:
			all, says = append(all, typed{line: i + 1, command: command}), true
		case strings.HasPrefix(l, "# "):
			says = false
		case says:
			last := &all[len(all)-1]
			last.says = append(last.says, l)
		}
	}
	return all
}

// pattern is what the output of a command must be like.
func (p typed) pattern() string {
	var b strings.Builder
	b.WriteString("(?s)^")
	for _, l := range p.says {
		if l == "…" {
			b.WriteString(`.*?`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(l), "…", "[^\n]*") + "\n")
	}
	return b.String() + "$"
}

// session is a shell that a person types into.
type session struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

// newSession begins in a folder; what it has started ends with the test.
func newSession(t *testing.T, folder string, env ...string) *session {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, both, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = both, both
	require.NoError(t, cmd.Start())
	require.NoError(t, both.Close())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = out.Close()
	})
	return &session{t: t, in: in, out: bufio.NewReader(out)}
}

// types gives a command, and returns what it printed and its exit code.
func (s *session) types(command string) (printed string, code int) {
	s.t.Helper()
	const end = "\x01"
	_, err := io.WriteString(s.in, "{ "+command+"\n} < /dev/null\nprintf '"+end+"%d\\n' $?\n")
	require.NoError(s.t, err)
	printed, err = s.out.ReadString(end[0])
	require.NoError(s.t, err, "%s: the shell has ended\n%s", command, printed)
	_, err = fmt.Fscanf(s.out, "%d\n", &code)
	require.NoError(s.t, err)
	return strings.TrimSuffix(printed, end), code
}

// followPage types what a page says, in its order: each command works, and says what it says there.
func followPage(t *testing.T, s *session, page, text string) (typed int) {
	t.Helper()
	for _, c := range commandsOf(text) {
		printed, code := s.types(c.command)
		require.Regexp(t, c.pattern(), printed, "%s:%d: %s", page, c.line, c.command)
		if len(c.says) == 0 { // otherwise a refusal may be what the page shows
			require.Zero(t, code, "%s:%d: %s", page, c.line, c.command)
		}
		typed++
	}
	return typed
}

// What the how-to pages say is typed there, in the order of the page, works, and says what they
// say.
func TestHowTo(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/how-to/*.md")
	require.NoError(t, err)
	pagesToType := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		if len(commandsOf(string(text))) == 0 {
			continue
		}
		pagesToType++
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			sim := gatesim.New(gatesim.Config{Projects: map[uint32]string{1234: "secret"}, PayEvery: true, OutcomeAfter: 20 * time.Millisecond, StatusLag: 50 * time.Millisecond})
			server := httptest.NewServer(sim)
			t.Cleanup(func() { sim.Close(); server.Close() })
			s := newSession(t, howToFolder(t, server.URL))
			_, code := s.types("masspay init")
			require.Zero(t, code)
			followPage(t, s, page, string(text))
		})
	}
	require.Greater(t, pagesToType, 5)
}

// howToFolder is where a reader of a how-to page is: with a configuration, two files of payouts,
// the samples, and a folder for backups.
func howToFolder(t *testing.T, gate string) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, prepare(folder, gate))
	sample, err := samples.Files.ReadFile("kyrgyzstan.csv")
	require.NoError(t, err)
	lines := strings.SplitAfter(string(sample), "\n")
	for name, rows := range map[string][]string{"payouts.csv": lines[1:3], "next.csv": lines[3:5]} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(strings.Join(slices.Concat(lines[:1], rows), "")), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(folder, "backup"), 0o700))
	require.NoError(t, os.CopyFS(filepath.Join(folder, "samples"), os.DirFS("../../samples")))
	return folder
}

// The tutorial, with the simulator that it starts, on ports that are free here.
func TestTutorial(t *testing.T) {
	t.Parallel()
	const page = "../../docs/tutorial.md"
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	folder, programs := t.TempDir(), t.TempDir()
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", programs, "masspay/cmd/gatesim").CombinedOutput()
	require.NoError(t, err, string(built))
	sample, err := samples.Files.ReadFile("kyrgyzstan.csv")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "kyrgyzstan.csv"), sample, 0o600))
	callbacks := freePort(t)
	here := strings.NewReplacer("127.0.0.1:9090", freePort(t), "127.0.0.1:9091", freePort(t), "127.0.0.1:8080", callbacks)
	s := newSession(t, folder, "PATH="+programs+":"+os.Getenv("PATH"), "MASSPAY_CALLBACKS_LISTEN="+callbacks)
	require.Greater(t, followPage(t, s, page, here.Replace(string(text))), 20)
}

// freePort is an address of this machine that nobody listens on, out of the range from which the
// kernel gives ports to those who do not care.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000)))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		return l.Addr().String()
	}
}
