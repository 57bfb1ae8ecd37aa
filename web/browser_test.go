package web

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store/storetest"
)

var pictures = flag.String("pictures", "", "keep pictures of pages in this folder")

// browser starts a browser without a window, which reaches this machine only. Where there is
// none the test is skipped, and fails in CI.
func browser(t *testing.T) context.Context {
	t.Helper()
	found := false
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if _, err := exec.LookPath(name); err == nil {
			found = true
		}
	}
	if !found {
		if os.Getenv("CI") == "true" {
			t.Fatal("no browser: install chromium")
		}
		t.Skip("NO BROWSER: pages are not tried in one; install chromium")
	}
	folder, err := os.MkdirTemp("", "masspay-browser-")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return os.RemoveAll(folder) == nil }, 10*time.Second, 50*time.Millisecond) // its children write for a while
	})
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(folder),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
	all, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(all)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx))
	return ctx
}

// tab is a browser's tab on a store's pages.
type tab struct {
	*testing.T
	ctx context.Context
	w   *shown
}

func (t *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	require.NoError(t, chromedp.Do(t.ctx, steps...))
}

func (t *tab) open(path string) {
	t.Helper()
	t.do(chromedp.Navigate(t.w.url + path))
}

// eval is what a script says in the page.
func eval[T any](t *tab, script string) T {
	t.Helper()
	v, err := chromedp.Run(t.ctx, chromedp.Evaluate[T](script))
	require.NoError(t, err, script)
	return v
}

// until waits for a script to be true.
func (t *tab) until(script string) {
	t.Helper()
	require.Eventually(t, func() bool { return eval[bool](t, script) }, 30*time.Second, 50*time.Millisecond, script)
}

// picture keeps a picture of the page, where they are asked for.
func (t *tab) picture(name string) {
	t.Helper()
	if *pictures == "" {
		return
	}
	png, err := chromedp.Run(t.ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(*pictures, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(*pictures, name+".png"), png, 0o644))
}

// axe holds the page against the rules for who sees, hears or moves otherwise.
func (t *tab) axe(name string) {
	t.Helper()
	t.do(chromedp.Func(func(context.Context, *chromedp.Target) error { return nil }))
	if !eval[bool](t, `typeof axe !== "undefined"`) {
		script, err := os.ReadFile("testdata/axe.min.js")
		require.NoError(t, err)
		_ = eval[bool](t, string(script)+"; true")
	}
	result, err := chromedp.Run(t.ctx, chromedp.Evaluate[string](`axe.run({runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}).then(
		r => JSON.stringify(r.violations.map(v => v.id + ": " + v.nodes.map(n => n.html + " " + n.failureSummary).join("; "))))`, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	var violations []string
	require.NoError(t, json.Unmarshal([]byte(result), &violations))
	require.Empty(t, violations, name)
}

// Pages in a real browser: readable by everybody, in both themes, on a telephone and on paper;
// parts that are read again keep focus, selection and place; a keyboard is enough; nothing is
// said on the console.
func TestBrowser(t *testing.T) {
	w := show(t, nil)
	ctx := browser(t)
	b := &tab{t, ctx, w}
	var mu sync.Mutex
	var said []string
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			mu.Lock()
			said = append(said, fmt.Sprint(m))
			mu.Unlock()
		}
	}()
	batch := "/batches/" + w.mixed.Short()
	pages := map[string]string{
		"files": "/", "file": batch, "rows": batch + "/rows", "payout": "/payout?project=1234&id=mixed-000007", "exceptions": "/exceptions", "closed": "/exceptions?closed=1",
		"runs": "/runs", "gate": "/gate", "callbacks": "/callbacks", "store": "/store", "compare": "/compare?a=" + w.mixed.Short() + "&b=" + w.held.Short(), "find": "/find?id=mixed", "settings": "/settings", "missing": "/nowhere",
	}
	for _, look := range []struct {
		name, set     string
		width, height int64
	}{{"light", "theme=light&lang=en", 1280, 900}, {"dark", "theme=dark&lang=en", 1280, 900}, {"phone", "theme=light&lang=ru", 390, 844}} {
		b.do(chromedp.EmulateViewport(look.width, look.height))
		b.open("/settings/set?" + look.set)
		for name, path := range pages {
			b.open(path)
			b.axe(look.name + " " + name)
			require.LessOrEqual(t, eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`), 0, "%s %s: the page itself scrolls sideways", look.name, name)
			b.picture(look.name + "-" + name)
		}
	}
	b.do(chromedp.EmulateViewport(1280, 500))
	b.open("/settings/set?theme=light&lang=en")

	// A page is read again while it may change.
	b.open(batch)
	b.until(`typeof htmx !== "undefined"`)
	link := `[...document.querySelectorAll("main a")].find(a => a.textContent.includes("All rows"))`
	_ = eval[bool](b, `window.kept = `+link+`; kept.focus(); scrollTo(0, 400); getSelection().selectAllChildren(document.querySelector("h1")); true`)
	at := eval[int](b, `scrollY`)
	require.Contains(t, eval[string](b, `document.querySelector("main").textContent`), "2 of 13 payouts arrived.")
	c := storetest.Claim(t, w.s, w.mixed, 1)
	storetest.Apply(t, w.s, payout.Event{Key: c[0].Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: "gate.example", At: time.Now()})
	storetest.Apply(t, w.s, payout.Event{Key: c[0].Key, Kind: payout.Final, Source: payout.FromCallback, At: time.Now(), Outcome: payout.StatePaid, Reported: payout.Reported{Amount: c[0].Amount}})
	b.until(`document.querySelector("main").textContent.includes("3 of 13 payouts arrived.")`)
	require.True(t, eval[bool](b, `document.activeElement === window.kept && kept.isConnected`), "the focus stays on the same node")
	require.Equal(t, at, eval[int](b, `scrollY`))
	require.Equal(t, "mixed.csv", eval[string](b, `getSelection().toString()`))

	// Paused it stays as it is.
	b.do(chromedp.Click(chromedp.Search(`a[href$="live=off"]`)))
	b.until(`location.search === "?live=off" && document.readyState === "complete"`)
	require.Equal(t, 0, eval[int](b, `document.querySelectorAll("[hx-trigger]").length`))

	// Back and forward.
	b.do(chromedp.NavigateBack())
	b.until(`location.search === "" && document.querySelectorAll("[hx-trigger]").length === 1`)

	// A keyboard is enough to come from the first page to a payout.
	b.open("/")
	for _, want := range []string{"mixed.csv", "All rows", "mixed-000001"} {
		press := 0
		for ; press < 200 && strings.TrimSpace(eval[string](b, `document.activeElement.textContent`)) != want; press++ {
			b.do(chromedp.KeyEvent("\t"))
		}
		require.Less(t, press, 200, "%s is not reached with Tab", want)
		before := eval[string](b, `location.href`)
		b.do(chromedp.KeyEvent("\r"))
		b.until(`location.href !== ` + fmt.Sprintf("%q", before) + ` && document.readyState === "complete"`)
	}
	require.Equal(t, "mixed-000001", eval[string](b, `document.querySelector("h1").textContent`))

	// On paper.
	b.open(batch)
	pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(pdf), "%PDF-"))
	if *pictures != "" {
		require.NoError(t, os.WriteFile(filepath.Join(*pictures, "file.pdf"), pdf, 0o644))
	}
	mu.Lock()
	defer mu.Unlock()
	for _, m := range said {
		require.Contains(t, m, "404", "the console says something") // that of the page that is missing
	}
}
