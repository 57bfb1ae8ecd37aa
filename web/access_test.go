package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/store"
)

// Only who has a token sees pages; health needs none. A line that is removed lets nobody in
// from then on.
func TestTokens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens")
	token, line, err := NewToken("anna")
	require.NoError(t, err)
	require.NotContains(t, line, token)
	require.NoError(t, os.WriteFile(file, []byte("# who may look\n\n"+line+"\n"), 0o600))
	w := show(t, func(p *Pages, a *Access) {
		a.Everyone = false
		a.Tokens, err = OpenTokens(file, p.Log)
		require.NoError(t, err)
	})
	ask := func(path, user, password, header string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil)
		require.NoError(t, err)
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		resp, err := w.client.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, 200, ask("/", "anna", token, ""))
	require.Equal(t, 200, ask("/", "", "", "Bearer "+token))
	for _, path := range []string{"/healthz", "/readyz"} {
		require.Equal(t, 200, ask(path, "", "", ""))
	}
	for _, wrong := range [][3]string{{"", "", ""}, {"anna", "", ""}, {"bob", token, ""}, {"anna", token + "x", ""}, {"anna", strings.Split(line, ":")[1], ""}, {"", "", "Bearer x"}, {"", "", "Basic x"}} {
		for _, path := range []string{"/", "/nowhere", "/exceptions.csv", "/assets/x/y", "/settings/set?lang=ru"} {
			require.Equal(t, 401, ask(path, wrong[0], wrong[1], wrong[2]), "%v %s", wrong, path)
		}
	}
	require.NotContains(t, w.log.String(), token)
	require.Contains(t, w.log.String(), `"who":"anna","path":"/"`)
	require.LessOrEqual(t, strings.Count(w.log.String(), "a wrong token"), 30, "at most ten a second")
	require.NoError(t, os.WriteFile(file, []byte("# nobody any more\n"), 0o600))
	require.Equal(t, 401, ask("/", "anna", token, ""))
	require.NoError(t, os.WriteFile(file, []byte("broken\n"+line+"\n"), 0o600))
	require.Equal(t, 401, ask("/", "anna", token, ""), "a file that cannot be read lets nobody in")
	_, err = OpenTokens(file, nil)
	require.ErrorContains(t, err, "line 1: want NAME:SHA256")
	for _, name := range []string{"", "a b", "a:b", "a\nb", strings.Repeat("x", 65)} {
		_, _, err := NewToken(name)
		require.Error(t, err, name)
	}
}

// Without tokens nobody sees pages beyond a Unix socket, and is told why.
func TestNoAccess(t *testing.T) {
	t.Parallel()
	w := show(t, func(_ *Pages, a *Access) { a.Everyone = false })
	resp, body := w.get(t, "/", "en")
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Contains(t, body, "masspay token NAME")
	resp, _ = w.get(t, "/healthz", "en")
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// A Unix socket is for its owner and group; one that was left behind is taken over, and one
// that is in use is not.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.sock")
	left, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	unix, _ := left.(*net.UnixListener)
	unix.SetUnlinkOnClose(false)
	require.NoError(t, left.Close())
	s, err := Open(t.Context(), "unix:"+path, (&Admin{Ready: func(context.Context) error { return nil }}).Handler())
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o660), info.Mode().Perm())
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { _ = Serve(ctx, s) })
	_, err = Open(t.Context(), "unix:"+path, nil)
	require.ErrorContains(t, err, "address already in use")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://socket/healthz", nil)
	require.NoError(t, err)
	resp, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode)
	client.CloseIdleConnections()
	stop()
	serving.Wait()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Open(t.Context(), "unix:"+file, nil)
	require.Error(t, err, "a file that is no socket stays")
	require.FileExists(t, file)
}

// Behind a proxy all links begin with the path that it has there.
func TestBasePath(t *testing.T) {
	t.Parallel()
	w := show(t, func(p *Pages, _ *Access) { p.Base = "/masspay" })
	resp, body := w.get(t, "/masspay/batches/"+w.mixed.Short(), "en")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	for _, link := range linksOf(body) {
		require.True(t, strings.HasPrefix(link, "/masspay/") || strings.HasPrefix(link, "#"), link)
	}
	resp, _ = w.get(t, "/masspay/settings/set?lang=ru&back=/masspay/runs", "en")
	require.Equal(t, "/masspay/runs", resp.Header.Get("Location"))
	require.Contains(t, resp.Header.Get("Set-Cookie"), "Path=/masspay/; Max-Age=31536000; HttpOnly; SameSite=Strict")
	resp, _ = w.get(t, "/runs", "en")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	for _, back := range []string{"//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "", "/%0d%0aSet-Cookie:x"} {
		resp, _ = w.get(t, "/masspay/settings/set?zone=Nowhere&theme=pink&back="+back, "en")
		require.True(t, strings.HasPrefix(resp.Header.Get("Location"), "/masspay/"), "%s leads to %s", back, resp.Header.Get("Location"))
		require.NotContains(t, resp.Header.Get("Set-Cookie"), "pink")
	}
}

// free is a source without turns.
type free struct{ Source }

func (free) Together(ctx context.Context, do func(context.Context) error) error { return do(ctx) }

// broken is a source that fails, or waits.
type broken struct {
	Source
	err  error
	wait chan struct{}
	n    int
}

func (b *broken) Latest(ctx context.Context, before uint32, limit int) ([]store.Batch, error) {
	b.n++
	if b.wait != nil {
		<-b.wait
	}
	if b.err != nil {
		return nil, b.err
	}
	return b.Source.Latest(ctx, before, limit)
}

// A store that cannot be read says what that means for the money; one that is busy shows what
// was read last.
func TestStoreThatFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		status int
		says   string
	}{
		{fmt.Errorf("x: %w", store.ErrDamaged), 500, "masspay doctor"}, {store.ErrBusy, 503, "can be asked for again"}, {errors.New("the disk says no"), 503, "can be asked for again"},
	} {
		w := show(t, func(p *Pages, _ *Access) { p.Source = &broken{Source: p.Source, err: tt.err} })
		resp, body := w.get(t, "/", "en")
		require.Equal(t, tt.status, resp.StatusCode)
		require.Contains(t, body, tt.says)
		require.NotContains(t, body, "the disk says")
	}
}

// Whoever asks for the same within a second costs the store one look; where it is busy, the
// last one serves for ten minutes, with its time.
func TestLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Pages{Source: free{}}
		n := 0
		var err error
		var wait time.Duration
		read := func(context.Context) (int, error) {
			n++
			is := n
			<-time.After(wait)
			return is, err
		}
		ask := func() (int, time.Duration, error) {
			v, at, err := look(t.Context(), p, "x", read)
			return v, time.Since(at), err
		}
		v, _, _ := ask()
		again, age, _ := ask()
		require.Equal(t, []int{1, 1}, []int{v, again})
		require.Zero(t, age)
		<-time.After(time.Second)
		v, _, _ = ask()
		require.Equal(t, 2, v)
		<-time.After(time.Minute)
		err = store.ErrBusy
		v, age, got := ask()
		require.NoError(t, got)
		require.Equal(t, 2, v)
		require.Equal(t, time.Minute, age)
		err, wait = nil, 5*time.Second
		begun := time.Now()
		v, _, _ = ask()
		require.Equal(t, 2, v, "it waits two seconds for its turn")
		require.Equal(t, 2*time.Second, time.Since(begun))
		<-time.After(5 * time.Second)
		synctest.Wait()
		begun = time.Now()
		v, _, _ = ask()
		require.Equal(t, 4, v, "what was read meanwhile is of five seconds before")
		require.Equal(t, 50*time.Millisecond, time.Since(begun), "with that it does not wait long")
		<-time.After(5 * time.Second)
		synctest.Wait()
		wait = 0
		<-time.After(20 * time.Minute)
		err = store.ErrBusy
		_, _, got = ask()
		require.ErrorIs(t, got, store.ErrBusy, "what is older says nothing")
		err = nil
		for i := range 2 * mostLooks {
			_, _, got := look(t.Context(), p, fmt.Sprint(i), read)
			require.NoError(t, got)
			<-time.After(time.Millisecond)
		}
		require.Len(t, p.looks.kept, mostLooks)
		var viewers sync.WaitGroup
		<-time.After(time.Minute)
		_, _, got = look(t.Context(), p, "broken", func(context.Context) (int, error) { panic("no such row") })
		require.ErrorContains(t, got, "no such row", "a fault in a page ends nothing else")
		n, wait = 0, time.Second
		for range 20 {
			viewers.Go(func() { _, _, _ = look(t.Context(), p, "shared", read) })
		}
		viewers.Wait()
		require.Equal(t, 1, n)
	})
}

// Numbers, shares and spans read as the language has them, and claim nothing that is not so.
func TestFormats(t *testing.T) {
	t.Parallel()
	en, ru := &view{words: wordsFor("en", ""), Zone: time.UTC}, &view{words: wordsFor("ru", ""), Zone: time.UTC}
	require.Equal(t, []string{"1,234,567", "1\u00a0234\u00a0567"}, []string{en.Num(1234567), ru.Num(1234567)})
	require.Equal(t, []string{"99.9\u00a0%", "99,9\u00a0%", "0.1\u00a0%", "100\u00a0%", "0\u00a0%", "50\u00a0%", ""}, []string{
		en.Percent(999_999, 1_000_000), ru.Percent(999_999, 1_000_000), en.Percent(1, 1_000_000), en.Percent(5, 5), en.Percent(0, 5), en.Percent(1, 2), en.Percent(0, 0),
	})
	for d, want := range map[time.Duration]string{
		-time.Second: "clock was set", time.Millisecond: "under 1\u00a0s", 59 * time.Second: "59\u00a0s", time.Minute: "1\u00a0min", 90 * time.Second: "1\u00a0min 30\u00a0s",
		5*time.Hour + 3*time.Minute: "5\u00a0h 3\u00a0min", 50 * time.Hour: "2\u00a0d 2\u00a0h",
	} {
		require.Equal(t, want, en.Span(d))
	}
	at := time.Date(2026, 11, 27, 23, 5, 6, 0, time.UTC)
	bishkek, err := time.LoadLocation("Asia/Bishkek")
	require.NoError(t, err)
	en.Zone = bishkek
	require.Equal(t, `<time datetime="2026-11-27T23:05:06Z">28 Nov 2026, 05:05</time>`, string(en.Time(at)))
	require.Equal(t, `<time datetime="2026-11-27T23:05:06Z">27.11.2026, 23:05:06</time>`, string(ru.Second(at)))
}
