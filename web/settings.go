package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// cookieName is that of the one cookie: a viewer's language, time zone and theme.
const cookieName = "masspay"

func choicesOf(r *http.Request) url.Values {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return url.Values{}
	}
	choices, err := url.ParseQuery(c.Value)
	if err != nil {
		return url.Values{}
	}
	return choices
}

// settingsPage lets a viewer choose.
type settingsPage struct {
	*view
	Languages, Themes, Zones []string
	Chosen                   url.Values
	Back                     string
}

func (p *Pages) settings(v *view, r *http.Request) (string, any, error) {
	v.Title, v.Section = v.T("settings.title"), "settings"
	return "settings", settingsPage{
		view: v, Languages: languages, Themes: []string{"light", "dark"}, Chosen: choicesOf(r), Back: local(r.URL.Query().Get("back")),
		Zones: []string{"UTC", "Europe/Berlin", "Europe/London", "Europe/Moscow", "Asia/Almaty", "Asia/Bishkek", "Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "America/New_York", "America/Sao_Paulo"},
	}, nil
}

// local is a path of these pages, or the first one.
func local(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}

// set keeps a viewer's choices in a cookie and goes back. It touches no store.
func (p *Pages) set(w http.ResponseWriter, r *http.Request) {
	q, c := r.URL.Query(), choicesOf(r)
	for _, name := range []string{"lang", "zone", "theme"} {
		if !q.Has(name) {
			continue
		}
		value := q.Get(name)
		switch name {
		case "lang":
			if !slices.Contains(languages, value) {
				value = ""
			}
		case "theme":
			if value != "light" && value != "dark" {
				value = ""
			}
		case "zone":
			if _, err := time.LoadLocation(value); err != nil {
				value = ""
			}
		}
		if c.Set(name, value); value == "" {
			c.Del(name)
		}
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // secure wherever the page is
		Name: cookieName, Value: c.Encode(), Path: p.Base + "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, p.Base+strings.TrimPrefix(local(q.Get("back")), p.Base), http.StatusSeeOther) //nolint:gosec // a path of these pages
}
