package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientIP is where a request really comes from: the connection's address, or,
// as long as that is a trusted proxy, the address before it in X-Forwarded-For.
// What a client writes into that header itself is never reached.
func clientIP(r *http.Request, proxies []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !within(ip, proxies) {
			return ip
		}
		before, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return ip
		}
		ip = before.Unmap()
	}
	return ip
}

// allowed reports whether a source may send callbacks.
func allowed(ip netip.Addr, allow []netip.Prefix) bool {
	return len(allow) == 0 || within(ip, allow)
}

func within(ip netip.Addr, prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}
