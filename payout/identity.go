package payout

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// GateIdentity is what a gate is known by, made from its base URL: scheme, host,
// port and path, in lower case where case does not matter, without a default port
// or a slash at the end. It fails for what is no URL of http or https, and for one
// that carries a user, a query or a fragment.
func GateIdentity(baseURL string) (string, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" ||
		u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return "", fmt.Errorf("want an address such as https://gate.example")
	}
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != DefaultPort(u.Scheme) {
		host = net.JoinHostPort(host, port)
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return u.Scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/"), nil
}

// DefaultPort is the port of a URL that names none, empty for an unknown scheme.
func DefaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// SameGate reports whether two identities name one gate: they are equal, or both
// were declared to be one platform, which has moved. An identity that an older
// masspay has kept is a host with or without a port, and equals any with these.
func (r Rules) SameGate(a, b string) bool {
	if a == b || sameAddress(a, b) {
		return true
	}
	return r.declared(a) && r.declared(b)
}

// declared reports whether an identity is one of the aliases.
func (r Rules) declared(id string) bool {
	for _, alias := range r.Aliases {
		if alias == id || sameAddress(alias, id) {
			return true
		}
	}
	return false
}

func sameAddress(a, b string) bool {
	switch {
	case strings.Contains(a, "://") == strings.Contains(b, "://"):
		return false // of one form, and not equal
	case strings.Contains(a, "://"):
		a, b = b, a
	}
	u, err := url.Parse(b)
	if err != nil {
		return false
	}
	port := u.Port()
	if port == "" {
		port = DefaultPort(u.Scheme)
	}
	old, err := url.Parse("//" + strings.ToLower(a))
	return err == nil && old.Hostname() == u.Hostname() && (old.Port() == "" && port == DefaultPort(u.Scheme) || old.Port() == port)
}
