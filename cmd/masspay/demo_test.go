package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
)

func TestDemoHostile(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	n := newNight(t, 1, gatesim.Config{}) // for its folder
	require.Equal(t, 0, n.masspay("demo", "--hostile"), "%s", n.said.String())
	said := n.said.String()
	for _, want := range []string{"paid twice                                0", "lost, or told wrongly                     0", "Nothing was paid twice, nothing was lost."} {
		require.Contains(t, said, want)
	}
}

// What the README shows of the demo is what it says, but for its day; how many rows are in which
// state after four seconds may depend on the machine.
func TestDemoInTheREADME(t *testing.T) {
	t.Parallel()
	n := newNight(t, 1, gatesim.Config{}) // for its folder
	require.Zero(t, n.masspay("demo"), "%s", n.said.String())
	var shown typed
	for block := range strings.SplitSeq(pages(t)["README.md"], "```") {
		if block = strings.TrimPrefix(block, "\n"); strings.HasPrefix(block, "masspay demo: ") {
			shown.says = strings.Split(strings.TrimSuffix(block, "\n"), "\n")
		}
	}
	require.Greater(t, len(shown.says), 20, "the README shows no demo")
	for i, l := range shown.says {
		l = regexp.MustCompile(`20\d\d-\d\d-\d\d`).ReplaceAllString(strings.Replace(l, "...", "…", 1), "…")
		if state, _, is := strings.Cut(l, "  "); is && state != "all" {
			l = state + "  …"
		}
		shown.says[i] = l
	}
	shown.says = slices.Concat([]string{"…"}, shown.says, []string{"…"})
	require.Regexp(t, shown.pattern(), n.said.String())
}

// The demo leaves its pages open until it is stopped, and lets nobody in without its link.
func TestDemoServe(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	n := newNight(t, 1, gatesim.Config{}) // for its folder
	c := n.command("demo", "--serve")
	c.Stderr = nil
	said, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	link := ""
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, rest, is := strings.Cut(lines.Text(), "until Ctrl-C: "); is {
			link = rest
			break
		}
	}
	require.NotEmpty(t, link, "no link was printed")
	get := func(link string) (status int, body string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, errors.Join(err, resp.Body.Close()))
		return resp.StatusCode, string(text)
	}
	status, body := get(link)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "payouts.csv")
	_, host, _ := strings.Cut(link, "@")
	status, _ = get("http://" + host)
	require.Equal(t, http.StatusUnauthorized, status)
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, c.Process.Signal(os.Interrupt))
	_, _ = io.Copy(io.Discard, said)
	_ = c.Wait() // it was interrupted
}
