package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What was taken and refused is counted and shown, the newest first, without what was in it.
func TestHeard(t *testing.T) {
	t.Parallel()
	var h *Heard
	h.took(heard{}) // nobody counts
	h.refuse(heard{})
	require.False(t, h.silent(time.Now()))
	w := show(t, func(p *Pages, _ *Access) { p.Heard = NewHeard() })
	server, _ := serveCallbacks(t, &applier{}, func(c *Callbacks) { c.Heard = w.pages.Heard })
	post := func(body string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(body))
		require.NoError(t, err)
		resp, err := w.client.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	post(signed("p-1"))
	post(strings.Replace(signed("p-2"), `"p-2"`, `"p-3"`, 1))
	post(strings.Replace(signed("p-4"), `"project_id":1234`, `"project_id":1235`, 1))
	post("{Secretname 996555123456}")
	counts := w.pages.Heard.Counts()
	require.Equal(t, []int64{1, 1, 1, 1}, []int64{counts[heardProject], counts[heardRepeated] + counts[heardChanged] + counts[heardNoted] + counts[heardContradicts], counts[heardSignature], counts[heardMalformed]})
	_, body := w.get(t, "/callbacks", "en")
	text := plain(body)
	require.Contains(t, text, "p-1 success")
	require.Contains(t, text, "wrong signature")
	require.Contains(t, text, "project is not configured: 1235")
	require.Contains(t, text, "127.0.0.1")
	require.NotContains(t, text, "p-3", "nothing is believed of what was not signed")
	require.NotContains(t, body, "Secretname")
	_, body = w.get(t, "/", "en")
	require.NotContains(t, body, "No callback has come")
	w.pages.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	_, body = w.get(t, "/", "en")
	require.Contains(t, body, "No callback has come for an hour, and 1 accepted payout waits")
}

// Of many the newest are kept.
func TestRing(t *testing.T) {
	t.Parallel()
	var r ring
	require.Empty(t, r.newest())
	for i := range 25 {
		r.add(heard{ID: fmt.Sprint(i)}, 10)
		kept := r.newest()
		require.Len(t, kept, min(i+1, 10))
		for n, h := range kept {
			require.Equal(t, fmt.Sprint(i-n), h.ID)
		}
	}
}
