package main

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
	says    []string // lines; … stands for anything within one, and alone for any lines; none: it works
}

var fence = regexp.MustCompile("^ *```")

// commandsOf are the commands of a document that begin with "$ ": those of a user, which a test
// can run. Those of root begin with "# ".
func commandsOf(text string) (all []typed) {
	inside := false
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimSpace(l)
		command, is := strings.CutPrefix(l, "$ ")
		switch {
		case fence.MatchString(l):
			inside = !inside
		case inside && is:
			all = append(all, typed{line: i + 1, command: command})
		case inside && len(all) > 0 && !strings.HasPrefix(l, "# "):
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

// What the how-to pages say is typed there, in the order of the page, works, and says what they
// say.
func TestHowTo(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/how-to/*.md")
	require.NoError(t, err)
	run := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		commands := commandsOf(string(text))
		if len(commands) == 0 {
			continue
		}
		sim := gatesim.New(gatesim.Config{Projects: map[uint32]string{1234: "secret"}, PayEvery: true, OutcomeAfter: 20 * time.Millisecond, StatusLag: 50 * time.Millisecond})
		server := httptest.NewServer(sim)
		t.Cleanup(func() { sim.Close(); server.Close() })
		folder := t.TempDir()
		require.NoError(t, prepare(folder, server.URL))
		sample, err := samples.Files.ReadFile("kyrgyzstan.csv")
		require.NoError(t, err)
		lines := strings.SplitAfter(string(sample), "\n")
		for name, rows := range map[string][]string{"payouts.csv": lines[1:3], "next.csv": lines[3:5]} {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(strings.Join(slices.Concat(lines[:1], rows), "")), 0o600))
		}
		require.NoError(t, os.Mkdir(filepath.Join(folder, "backup"), 0o700))
		before := exec.CommandContext(t.Context(), "masspay", "init")
		before.Dir = folder
		require.NoError(t, before.Run())
		for _, c := range commands {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", c.command)
			cmd.Dir = folder
			out, err := cmd.CombinedOutput()
			if len(c.says) == 0 { // otherwise a refusal may be what the page shows
				require.NoError(t, err, "%s:%d: %s\n%s", page, c.line, c.command, out)
				run++
				continue
			}
			require.Regexp(t, c.pattern(), string(out), "%s:%d: %s", page, c.line, c.command)
			run++
		}
	}
	require.Greater(t, run, 10)
}
