package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/seal"
	"masspay/store/storetest"
)

// oddID is what a payment_id may look like.
const oddID = `a//b/../c?x=1&y=2#z "<script>alert(1)</script>`

// canaries are what of a file must be seen nowhere: whole accounts, names, ids of customers.
var canaries = []string{"996555123456", "Secretname", "c-mixed-", "SECRETNAME"}

// shown is a store with everything that pages show, and the pages of it.
type shown struct {
	s      *bolt.Store
	folder string
	mixed  store.Batch
	held   store.Batch
	url    string
	log    *bytes.Buffer
	client *http.Client
	pages  *Pages
}

func show(t *testing.T, change func(*Pages, *Access)) *shown {
	t.Helper()
	w := &shown{folder: t.TempDir(), log: &bytes.Buffer{}}
	now := time.Now().UTC().Truncate(time.Second)
	var err error
	o := bolt.Options{Path: filepath.Join(w.folder, "masspay.db"), Key: seal.NewKey(), Rules: payout.Rules{BlocksRetry: gate.BlocksRetry}}
	require.NoError(t, bolt.Create(t.Context(), o))
	w.s, err = bolt.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.s.Close()) })
	w.mixed, w.held = fill(t, w.s, now)
	var mu sync.Mutex
	log := slog.New(slog.NewJSONHandler(lockedWriter{&mu, w.log}, nil))
	w.pages = &Pages{Source: w.s, Restored: w.s.Restored, Projects: []uint32{1234}, Zone: time.UTC, Version: "test", Log: log}
	access := Access{Everyone: true}
	if change != nil {
		change(w.pages, &access)
	}
	server := httptest.NewServer((&Admin{Ready: func(ctx context.Context) error { _, err := w.s.NextDue(ctx); return err }, Pages: w.pages, Access: access, Log: log}).Handler())
	w.url = server.URL
	w.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{}}
	t.Cleanup(func() { w.client.CloseIdleConnections(); server.Close() })
	return w
}

// fill makes two files: one with every result, and one that is held.
func fill(t *testing.T, s *bolt.Store, now time.Time) (mixed, held store.Batch) {
	t.Helper()
	rows := storetest.Rows("mixed", 14)
	rows[0] = storetest.Row(oddID, 1000, 2)
	rows[13] = store.Row{Line: 15, Cells: rows[13].Cells, Skip: "payment.amount: empty"}
	run, err := s.BeginRun(t.Context(), store.Run{Command: "run", User: "anna", Host: "desk", Version: "test", Config: "c0ffee", File: "/home/anna/mixed.csv", At: now.Add(-time.Hour), Batch: storetest.BatchOf("mixed.csv", nil).ID})
	require.NoError(t, err)
	mixed = storetest.Load(t, s, "mixed.csv", rows)
	claimed := storetest.Claim(t, s, mixed, 11)
	event := func(c store.Claimed, e payout.Event) {
		e.Key, e.At = c.Key, now.Add(-time.Minute)
		storetest.Apply(t, s, e)
	}
	final := func(c store.Claimed, state payout.State, code, message string) {
		event(c, payout.Event{Kind: payout.Accepted, Source: payout.FromRun, Attempt: c.Attempt, Tries: 1, Host: "gate.example", Reported: payout.Reported{RequestID: "req-" + c.Key.PaymentID[:3]}})
		event(c, payout.Event{Kind: payout.Final, Source: payout.FromCallback, Outcome: state, Reported: payout.NewReported(payout.Reported{Status: state.String(), Code: code, Message: message, OperationID: "1234567890123456", Amount: c.Amount})})
	}
	final(claimed[0], payout.StatePaid, "0", "Success")
	final(claimed[1], payout.StatePaid, "0", "Success")
	final(claimed[2], payout.StateDeclined, "20101", "declined for Secretname, account 996555123456")
	final(claimed[3], payout.StateDeclined, "20000", "General decline")
	final(claimed[4], payout.StateRejected, "2609", "Invalid day of birth")
	final(claimed[5], payout.StateReturned, "0", "Success")
	final(claimed[6], payout.StatePartial, "0", "Success")
	final(claimed[7], payout.StatePaid, "0", "Success")
	final(claimed[7], payout.StateDeclined, "20000", "General decline") // contradicts
	event(claimed[8], payout.Event{Kind: payout.Doubtful, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: "gate.example"})
	event(claimed[9], payout.Event{Kind: payout.Accepted, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: "gate.example"})
	require.NoError(t, s.EndRun(t.Context(), run, store.RunEnd{At: now, ExitCode: 4, Sent: 11, Text: "sent now: 11 payouts"}))
	h, err := s.Get(t.Context(), claimed[5].Key)
	require.NoError(t, err)
	event(claimed[5], payout.Event{Kind: payout.Resolved, Source: payout.FromPerson, Person: "anna@desk", Reason: "<b>a closed account</b>", Version: h.Version()})
	storetest.Apply(t, s, payout.Event{Key: payout.Key{ProjectID: 1234, PaymentID: "of-no-file"}, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, At: now.Add(-time.Minute), Customer: "c-mixed-1", Account: "996555123456",
		Reported: payout.NewReported(payout.Reported{Status: "success", Code: "0", Message: "to Secretname", OperationID: "77"})})
	held = storetest.Load(t, s, "held.csv", storetest.Rows("held", 3))
	require.NoError(t, s.Hold(t.Context(), held.ID, store.Hold{Kind: store.HeldByPerson, Reason: "wrong <month>", By: "anna@desk", At: now}))
	_, err = s.BeginRun(t.Context(), store.Run{Command: "serve", User: "anna", Host: "desk", At: now})
	require.NoError(t, err)
	return mixed, held
}

// get asks for a page as a browser in a language.
func (w *shown) get(t *testing.T, path, lang string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil)
	require.NoError(t, err)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: url.Values{"lang": {lang}}.Encode()})
	resp, err := w.client.Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

var (
	linkPattern  = regexp.MustCompile(`(?:href|src|hx-get)="([^"]*)"`)
	formPattern  = regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>`)
	fieldPattern = regexp.MustCompile(`<(?:input|select)[^>]* name="([^"]*)"`)
	valuePattern = regexp.MustCompile(`<option value="([^"]+)"`)
)

// linksOf are all links and forms of a page; a form is asked with nothing and with each of its
// choices.
func linksOf(body string) (links []string) {
	for _, m := range linkPattern.FindAllStringSubmatch(body, -1) {
		links = append(links, html.UnescapeString(m[1]))
	}
	for _, m := range formPattern.FindAllStringSubmatch(body, -1) {
		action := html.UnescapeString(m[1])
		links = append(links, action)
		for _, f := range fieldPattern.FindAllStringSubmatch(m[2], -1) {
			links = append(links, action+"?"+f[1]+"=mixed")
		}
		for _, v := range valuePattern.FindAllStringSubmatch(m[2], -1) {
			links = append(links, action+"?result="+url.QueryEscape(html.UnescapeString(v[1])))
		}
	}
	return links
}

// Whatever leads from the first page is there, in every language, and shows nothing that is
// personal; no other method is answered, and nothing in the store changes.
func TestCrawl(t *testing.T) {
	t.Parallel()
	w := show(t, nil)
	before := filesSum(t, w.folder)
	for _, lang := range languages {
		seen, queue := map[string]bool{}, []string{"/", "/find?id=" + url.QueryEscape(oddID), "/find?id=mixed", "/payout?project=1234&id=" + url.QueryEscape(oddID)}
		for len(queue) > 0 {
			path, _, _ := strings.Cut(queue[0], "#")
			queue = queue[1:]
			if path == "" || seen[path] {
				continue
			}
			seen[path] = true
			require.True(t, strings.HasPrefix(path, "/"), path)
			resp, body := w.get(t, path, lang)
			switch {
			case strings.HasPrefix(path, "/settings/set"):
				require.Equal(t, http.StatusSeeOther, resp.StatusCode, path)
			case strings.Contains(path, "amount=mixed"), strings.HasPrefix(path, "/?") && (strings.Contains(path, "from=mixed") || strings.Contains(path, "to=mixed")):
				require.Equal(t, http.StatusBadRequest, resp.StatusCode, path)
			default:
				require.Equal(t, http.StatusOK, resp.StatusCode, path)
			}
			for name, want := range map[string]string{
				"Content-Security-Policy": contentPolicy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
				"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			} {
				require.Equal(t, want, resp.Header.Get(name), path)
			}
			cache := "no-store"
			if strings.HasPrefix(path, "/assets/") {
				cache = "public, max-age=31536000, immutable"
			}
			require.Equal(t, cache, resp.Header.Get("Cache-Control"), path)
			for _, c := range canaries {
				require.NotContains(t, body, c, path)
			}
			if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && resp.StatusCode != http.StatusSeeOther {
				require.Contains(t, body, `<html lang="`+lang+`"`, path)
				require.NotContains(t, body, "<script>alert", path)
				require.NotContains(t, body, "<b>a closed", path)
				require.NotRegexp(t, regexp.MustCompile(` style=|<style| onclick=|hx-on|js:|every [0-9]+s *\[`), body, path)
				for _, id := range wordIDs(t) {
					require.NotContains(t, body, ">"+id+"<", "%s: no word for %s", path, id)
				}
				queue = append(queue, linksOf(body)...)
			}
		}
		for _, want := range []string{"/exceptions", "/runs", "/batches/" + w.mixed.Short(), "/batches/" + w.mixed.Short() + "/rows", "/batches/" + w.held.Short() + "/result.csv", "/exceptions.csv?", "/settings?back=%2F"} {
			require.True(t, seen[want] || seen[strings.ToLower(want)] || slices.ContainsFunc(slices.Collect(keysOf(seen)), func(s string) bool { return strings.HasPrefix(s, want) }), "%s was not reached", want)
		}
		for path := range seen {
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, "PROPFIND"} {
				resp := w.ask(t, method, path)
				require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, "%s %s", method, path)
				require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
			}
		}
	}
	require.Equal(t, before, filesSum(t, w.folder), "nothing in the store has changed")
	for _, c := range append(canaries, "mixed-0000", "alert(1)") {
		require.NotContains(t, w.log.String(), c, "the log names no payment and no person")
	}
}

// wordIDs are the ids of all words; a page that shows one has no word for it.
func wordIDs(t *testing.T) []string {
	t.Helper()
	text, err := localeFiles.ReadFile("locale/en.json")
	require.NoError(t, err)
	words := map[string]any{}
	require.NoError(t, json.Unmarshal(text, &words))
	return slices.Collect(maps.Keys(words))
}

func keysOf(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (w *shown) ask(t *testing.T, method, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, nil)
	require.NoError(t, err)
	resp, err := w.client.Do(r)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.NoError(t, resp.Body.Close())
	return resp
}

// filesSum is a digest of what a store keeps.
func filesSum(t *testing.T, folder string) string {
	t.Helper()
	h := sha256.New()
	for _, name := range []string{"masspay.db", "masspay.db.marker"} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if !errors.Is(err, os.ErrNotExist) {
			require.NoError(t, err)
		}
		_, _ = h.Write(b)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// The languages have the same words, with the same names in them.
func TestWords(t *testing.T) {
	t.Parallel()
	all := map[string]map[string]any{}
	for _, lang := range languages {
		text, err := localeFiles.ReadFile("locale/" + lang + ".json")
		require.NoError(t, err)
		all[lang] = map[string]any{}
		is := all[lang]
		require.NoError(t, json.Unmarshal(text, &is))
	}
	names := regexp.MustCompile(`\{\{\.[A-Za-z]+\}\}`)
	of := func(v any) (found []string) {
		text := fmt.Sprint(v)
		if forms, ok := v.(map[string]any); ok {
			text = fmt.Sprint(forms["other"])
		}
		found = names.FindAllString(text, -1)
		slices.Sort(found)
		return found
	}
	en := all[languages[0]]
	for _, lang := range languages[1:] {
		require.Len(t, all[lang], len(en))
		for id, v := range en {
			require.Contains(t, all[lang], id)
			require.Equal(t, of(v), of(all[lang][id]), "%s: %s", lang, id)
		}
	}
	ru := wordsFor("ru", "")
	for n, want := range map[int]string{0: "0 выплат нужно", 1: "1 выплату нужно", 2: "2 выплаты нужно", 5: "5 выплат нужно", 11: "11 выплат нужно", 21: "21 выплату нужно", 1002: "1002 выплаты нужно"} {
		require.Contains(t, ru.T("want.exceptions", "N", n), want)
	}
	require.Equal(t, "ru", wordsFor("", "de, ru;q=0.8, en;q=0.5").Lang)
	require.Equal(t, "en", wordsFor("", "de").Lang)
	require.Equal(t, "en", wordsFor("en", "ru").Lang)
}

// Machines that share a store are seen with when they were last heard of.
func TestProcesses(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := show(t, func(p *Pages, _ *Access) {
		p.Processes = func(context.Context) ([]store.Process, error) {
			return []store.Process{{Host: "one", PID: 7, Seen: now.Add(-3 * time.Second), Since: now, Held: 1234}, {Host: "two", PID: 8, Seen: now.Add(-time.Hour), Since: now, Fenced: true}}, nil
		}
	})
	_, body := w.get(t, "/runs", "en")
	text := plain(body)
	require.Contains(t, text, "one, 7 lives 1,234 3 s ago")
	require.Contains(t, text, "two, 8 taken for dead: sends nothing any more 0 1 h 0 min ago")
}

// What a batch page says of the money is what is in the store.
func TestBatchPage(t *testing.T) {
	t.Parallel()
	w := show(t, nil)
	_, body := w.get(t, "/batches/"+w.mixed.Short(), "en")
	text := plain(body)
	for _, want := range []string{
		"2 of 13 payouts arrived. Of 1 only a part arrived. 4 were not paid. 2 are not sent yet. 3 were sent and have no outcome yet: they may be paid. 2 must be looked at by a person.",
		"20101", "Invalid day of birth", "SHA-256 " + w.mixed.ID, "14, 1 left out", "anna@desk – done, and some outcomes are open or must be checked (sent now: 11 payouts)",
		"All 14 130.78 KGS",
	} {
		require.Contains(t, text, want)
	}
	require.Contains(t, body, `hx-trigger="every 2s"`, "it may still change")
	_, body = w.get(t, "/batches/"+w.mixed.Short()+"?live=off", "en")
	require.NotContains(t, body, "hx-trigger", "paused")
	_, body = w.get(t, "/batches/"+w.held.Short(), "ru")
	require.Contains(t, plain(body), "Удержан, anna@desk: wrong <month>. До возобновления ничего не отправляется:")
	require.Contains(t, body, "<code>masspay resume "+w.held.Short()+"</code>")
	_, body = w.get(t, "/", "en")
	text = plain(body)
	require.Contains(t, text, "2 payouts must be looked at.")
	require.Contains(t, text, "held.csv is held: wrong <month>. To let it be sent: masspay resume "+w.held.Short())
	require.Less(t, strings.Index(text, w.held.Short()+" held"), strings.Index(text, w.mixed.Short()+" 2 want a person"), "the newest first")
}

// Two files beside each other, and which payouts are in both.
func TestComparePage(t *testing.T) {
	t.Parallel()
	w := show(t, nil)
	rows := append(storetest.Rows("new", 60), storetest.Rows("mixed", 14)[3:9]...)
	for i := range rows {
		rows[i].Line = i + 2
	}
	both := storetest.Load(t, w.s, "both.csv", rows)
	path := "/compare?a=" + w.mixed.Short() + "&b=" + both.Short()
	_, body := w.get(t, path, "en")
	text := plain(body)
	require.Contains(t, text, "Rows 14 66 +52")
	require.Contains(t, text, "Payouts that are in both files")
	require.Regexp(t, `mixed-000003 996\*\*\*56 10.03 KGS declined mixed-000004 .* mixed-000008 996\*\*\*56 10.08 KGS open`, text)
	require.NotContains(t, text, "new-0000", "they are in one of them")
	_, body = w.get(t, path+"&after=63", "en")
	require.NotContains(t, plain(body), "mixed-000003")
	require.Contains(t, plain(body), "mixed-000008")
	_, body = w.get(t, "/compare?a="+w.held.Short()+"&b="+both.Short(), "en")
	require.Contains(t, plain(body), "None among the rows that were looked at")
	_, body = w.get(t, "/callbacks", "en")
	require.Contains(t, plain(body), "1 report of the platform is about an id that is in no file here.")
	require.Regexp(t, `of-no-file 1234 success 0 `, plain(body))
}

// Files are found by their names, the days of their loads, and what they are at.
func TestFilesAreFound(t *testing.T) {
	t.Parallel()
	w := show(t, nil)
	for i := range 60 {
		storetest.Load(t, w.s, fmt.Sprintf("payroll-%02d.csv", i), storetest.Rows(fmt.Sprint("p", i), 1))
	}
	today, tomorrow := time.Now().UTC().Format(time.DateOnly), time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	ask := func(query string) (string, string) {
		_, body := w.get(t, "/?"+query, "en")
		return plain(body), body
	}
	text, _ := ask("name=MIXED")
	require.Contains(t, text, "Looked at 62 files, 1 is like this.")
	require.Contains(t, text, w.mixed.Short())
	require.NotContains(t, text, w.held.Short())
	require.NotContains(t, text, "must be looked at", "what wants a person is said of all files, on the first page")
	text, _ = ask("state=check")
	require.Contains(t, text, "2 are like this", "one that is held, and one with exceptions")
	text, _ = ask("from=" + tomorrow)
	require.Contains(t, text, "No file is like this among those that were looked at.")
	text, _ = ask("name=mixed&to=" + today)
	require.Contains(t, text, "1 is like this")
	seen := map[string]bool{}
	for path := "name=payroll&state=open"; path != ""; {
		text, body := ask(path)
		for _, name := range regexp.MustCompile(`payroll-[0-9]{2}\.csv`).FindAllString(text, -1) {
			seen[name] = true
		}
		next := regexp.MustCompile(`class="pager"><a href="/\?([^"]+)"`).FindStringSubmatch(body)
		if path = ""; next != nil {
			path = html.UnescapeString(next[1])
		}
	}
	require.Len(t, seen, 60)
	text, _ = ask("from=yesterday")
	require.Contains(t, text, "A day is written as 2026-11-27")
}

// The gate's page says how much of the rate is used, and that nothing is sent now.
func TestGatePage(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Minute).Add(time.Hour)
	var asked []string
	w := show(t, func(p *Pages, _ *Access) {
		p.Rate, p.Now = 0.5, func() time.Time { return now.Add(30 * time.Second) }
	})
	rows := storetest.Rows("late", 12)
	for i, c := range storetest.Claim(t, w.s, storetest.Load(t, w.s, "late.csv", rows), 12) {
		at := now.Add(-time.Minute + time.Duration(i)*time.Second)
		if i >= 9 {
			at = now // of this minute, which is not whole
		}
		storetest.Apply(t, w.s, payout.Event{Key: c.Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: "gate.example", At: at})
	}
	_, body := w.get(t, "/gate", "en")
	text := plain(body)
	require.Regexp(t, `In the last whole minute 0\.[12] requests a second were sent, of 0\.5 that may be \(30.%\)`, text)
	require.Contains(t, text, "Gate Payouts gate.example 15")
	require.NotContains(t, text, "asked for a pause")
	l, err := w.s.Limiter(5, 1)
	require.NoError(t, err)
	until := time.Now().Add(3 * time.Minute)
	require.NoError(t, l.Pause(t.Context(), until))
	require.NoError(t, l.Close())
	paused := show(t, func(p *Pages, _ *Access) { p.Source = w.s })
	_, body = paused.get(t, "/gate", "en")
	require.Contains(t, plain(body), "The gate asked for a pause: nothing is sent before "+until.UTC().Round(time.Second).Format("2 Jan 2006, 15:04"))

	admin := &Admin{Pages: w.pages, Access: Access{Everyone: true}, Log: w.pages.Log, Asked: func(page string, code int) { asked = append(asked, fmt.Sprint(page, " ", code)) }}
	for _, path := range []string{"/batches/" + w.mixed.Short(), "/batches/ffffffffffff/rows?id=secret", "/nowhere/at/all", "/payout?project=1234&id=mixed-000003"} {
		admin.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	}
	refusing := &Admin{Pages: w.pages, Log: w.pages.Log, Asked: admin.Asked}
	refusing.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	require.Equal(t, []string{"/batches/{id} 200", "/batches/{id}/rows 404", "/ 404", "/payout 200"}, asked[:4])
	require.Regexp(t, `^refused (401|403)$`, asked[4])
}

// killed is a store in which every run without an end was killed.
type killed struct{ *bolt.Store }

func (k killed) LatestRuns(ctx context.Context, before uint64, limit int) ([]store.Run, error) {
	runs, err := k.Store.LatestRuns(ctx, before, limit)
	for i := range runs {
		if runs[i].End == nil {
			runs[i].Life = store.LifeGone
		}
	}
	return runs, err
}

// What wants a person is said first, and not before it does.
func TestWhatWantsAPerson(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	later := time.Duration(0)
	var dead bool
	text := func(path string, change func(t *testing.T, w *shown)) string {
		w := show(t, func(p *Pages, _ *Access) {
			p.Copies, p.Now = true, func() time.Time { return now.Add(later) }
			if dead {
				p.Source = killed{p.Source.(*bolt.Store)}
			}
		})
		if change != nil {
			change(t, w)
		}
		_, body := w.get(t, path, "en")
		return plain(body)
	}
	all := text("/", nil)
	for _, not := range []string{"question", "without a word", "backed up"} {
		require.NotContains(t, all, not)
	}
	question := func(t *testing.T, w *shown) {
		for i, id := range []string{"mixed-000009", "mixed-000008"} {
			storetest.Apply(t, w.s, payout.Event{Key: payout.Key{ProjectID: 1234, PaymentID: id}, Kind: payout.Progress, Source: payout.FromCallback, At: now.Add(-time.Duration(i) * time.Minute), Reported: payout.Reported{Status: "awaiting clarification"}})
		}
	}
	by := now.Add(29 * time.Minute).Format("2 Jan 2006, 15:04")
	require.Contains(t, text("/", question), "The platform has questions about 2 payouts: answer in its Dashboard, the first before "+by)
	require.Contains(t, text("/exceptions", question), "answer before "+now.Add(30*time.Minute).Format("2 Jan 2006, 15:04"))
	require.Contains(t, text("/exceptions", question), "answer the platform's question in its Dashboard: that closes it")
	dead = true
	require.Contains(t, text("/", nil), "masspay serve, begun")
	require.Contains(t, text("/runs", nil), "ended without a word: killed, or its machine was")
	dead = false
	require.Contains(t, text("/store", nil), "Last backup none that is known of")
	copied := func(t *testing.T, w *shown) {
		n, err := w.s.BeginRun(t.Context(), store.Run{Command: "backup", At: time.Now()})
		require.NoError(t, err)
		require.NoError(t, w.s.EndRun(t.Context(), n, store.RunEnd{At: time.Now()}))
	}
	later = 49 * time.Hour
	require.Contains(t, text("/", nil), "The store was not backed up for two days. To do it: masspay backup FILE")
	require.Contains(t, text("/", copied), "The store was not backed up")
	require.NotContains(t, text("/store", copied), "none that is known of")
	later = 47 * time.Hour
	require.NotContains(t, text("/", nil), "backed up")
}

var tagPattern = regexp.MustCompile(`<[^>]*>|\s+`)

// plain is the text of a page.
func plain(body string) string {
	text := tagPattern.ReplaceAllStringFunc(body, func(s string) string {
		if s[0] == '<' && !strings.HasPrefix(s, "<t") && !strings.HasPrefix(s, "</t") && !strings.HasPrefix(s, "<br") && !strings.HasPrefix(s, "<d") {
			return ""
		}
		return " "
	})
	return html.UnescapeString(strings.Join(strings.Fields(text), " "))
}

// Rows are found by what a person knows of them; a whole account is refused before anything
// is written down.
func TestRowsPage(t *testing.T) {
	t.Parallel()
	w := show(t, nil)
	path := "/batches/" + w.mixed.Short() + "/rows"
	rows := regexp.MustCompile(`<tr><td class="num">(\d+)</td>`)
	for query, want := range map[string]string{
		"":                              "2 3 4 5 6 7 8 9 10 11 12 13 14 15",
		"?result=declined":              "4 5",
		"?result=declined&code=20101":   "4",
		"?result=skipped":               "15",
		"?result=check":                 "9",
		"?action=never+pay+again":       "",
		"?id=MIXED-00001":               "12 13 14",
		"?to=996***":                    "2 3 4 5 6 7 8 9 10 11 12 13 14",
		"?amount=10.03":                 "5",
		"?amount=10.03-10.05":           "5 6 7",
		"?amount=10,03":                 "5",
		"?amount=10.030":                "5",
		"?after=12":                     "14 15",
		"?after=999999999999999999999":  "2 3 4 5 6 7 8 9 10 11 12 13 14 15",
		"?after=-3&result=paid":         "2 3",
		"?id=" + url.QueryEscape(oddID): "2",
	} {
		resp, body := w.get(t, path+query, "en")
		require.Equal(t, http.StatusOK, resp.StatusCode, query)
		var found []string
		for _, m := range rows.FindAllStringSubmatch(body, -1) {
			found = append(found, m[1])
		}
		require.Equal(t, want, strings.Join(found, " "), query)
	}
	for query, says := range map[string]string{
		"?to=996555123456": "Type only the first and last digits", "?id=ab": "needs three characters", "?amount=1e5": "An amount is written as", "?amount=-5": "An amount is written as",
		"?amount=1.2.3": "An amount is written as", "?amount=99999999999999999999": "An amount is written as",
	} {
		resp, body := w.get(t, path+query, "en")
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, query)
		require.Contains(t, body, says, query)
	}
	require.NotContains(t, w.log.String(), "996555123456")
}

// An id leads to its payout whatever it is made of.
func TestPayoutPage(t *testing.T) {
	t.Parallel()
	w := show(t, nil)
	_, body := w.get(t, "/payout?project=1234&id="+url.QueryEscape(oddID), "en")
	require.Contains(t, plain(body), oddID)
	require.Contains(t, plain(body), "masspay show 'a//b/../c?x=1&y=2#z \"<script>alert(1)</script>'")
	_, body = w.get(t, "/payout?project=1234&id=mixed-000007", "en")
	text := plain(body)
	for _, want := range []string{"contradicts what was known", "masspay resolve mixed-000007 --as seen --reason 'WHY'", "the gate reported two outcomes that cannot both be true", "masspay run, anna@desk", "line 9"} {
		require.Contains(t, text, want)
	}
	_, body = w.get(t, "/payout?project=1234&id=mixed-000008", "en")
	require.Contains(t, plain(body), "attempt 1: no usable answer, in doubt")
	for path, says := range map[string]string{
		"/payout?project=1234&id=nobody": "does not prove that nothing was paid", "/payout?project=9&id=mixed-000001": "No payout is known", "/payout": "No payout is known",
		"/batches/ffffffffffff": "No file is known", "/batches/ffffffffffff/rows": "No file is known", "/batches/x": "No file is known", "/nowhere": "There is no such page", "/exceptions?batch=ffff": "No file is known",
	} {
		resp, body := w.get(t, path, "en")
		require.Equal(t, http.StatusNotFound, resp.StatusCode, path)
		require.Contains(t, body, says, path)
	}
}

// Downloads follow the page's filter, hide accounts, and are no formulas.
func TestDownloads(t *testing.T) {
	t.Parallel()
	w := show(t, nil)
	read := func(path string) (rows [][]string, name string) {
		resp, body := w.get(t, path, "ru")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		c := csv.NewReader(strings.NewReader(body))
		c.Comma = ';'
		rows, err := c.ReadAll()
		require.NoError(t, err)
		return rows, resp.Header.Get("Content-Disposition")
	}
	rows, name := read("/batches/" + w.mixed.Short() + "/result.csv")
	require.Len(t, rows, 15)
	require.Equal(t, `attachment; filename=mixed.masked.csv`, name)
	require.Equal(t, []string{"line", "project_id", "payment_id", "to", "amount", "currency", "result.state"}, rows[0][:7])
	require.Equal(t, []string{"3", "1234", "mixed-000001", "996***56", "1001", "KGS", "paid"}, rows[2][:7])
	require.Equal(t, []string{"15", "", "", "", "", "", "skipped"}, rows[14][:7])
	rows, _ = read("/batches/" + w.mixed.Short() + "/result.csv?result=declined")
	require.Len(t, rows, 3)
	rows, name = read("/exceptions.csv")
	require.Len(t, rows, 3)
	require.Contains(t, name, "exceptions.masked.csv")
	rows, _ = read("/exceptions.csv?closed=1&batch=" + w.mixed.Short())
	require.Len(t, rows, 2)
	require.Equal(t, "anna@desk", rows[1][10])
	formula := storetest.Load(t, w.s, "formula.csv", []store.Row{storetest.Row("=SUM(1)", 5, 2)})
	rows, _ = read("/batches/" + formula.Short() + "/result.csv")
	require.Equal(t, "'=SUM(1)", rows[1][2])
	resp, _ := w.get(t, "/batches/ffffffffffff/result.csv", "en")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Empty(t, resp.Header.Get("Content-Disposition"))
}

// Bodies are compressed for who understands that, and the same.
func TestCompression(t *testing.T) {
	t.Parallel()
	w := show(t, nil)
	for path := range map[string]bool{"/": true, "/assets/" + assets["htmx.min.js"].hash + "/htmx.min.js": true} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil)
		require.NoError(t, err)
		r.Header.Set("Accept-Encoding", "gzip")
		resp, err := w.client.Do(r)
		require.NoError(t, err)
		require.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
		z, err := gzip.NewReader(resp.Body)
		require.NoError(t, err)
		body, err := io.ReadAll(z)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Greater(t, len(body), 1024)
		head := w.ask(t, http.MethodHead, path)
		require.Equal(t, http.StatusOK, head.StatusCode)
	}
	resp, _ := w.get(t, "/assets/000000000000/style.css", "en")
	require.Equal(t, http.StatusNotFound, resp.StatusCode, "another version's")
}
