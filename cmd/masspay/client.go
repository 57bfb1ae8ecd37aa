package main

import (
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"

	"masspay/batch"
	"masspay/gate"
	"masspay/gate/transport"
	"masspay/payout"
	"masspay/store"
)

func (c *config) rules() payout.Rules {
	return payout.Rules{StatusAfter: c.Gate.StatusAfter, QuietPeriod: c.Gate.QuietPeriod, Aliases: c.aliases(), BlocksRetry: gate.BlocksRetry}
}

// gateClient makes the client and its limiter; close releases both.
func (c *config) gateClient(s store.Store) (client *gate.Client, closer func(), err error) {
	return c.clientOf(c.Gate.BaseURL, s)
}

// otherGate makes a client for a gate that payouts were sent to before, by its
// identity. One that an older masspay kept is a host alone.
func (c *config) otherGate(s store.Store) func(identity string) (*gate.Client, error) {
	return func(identity string) (*gate.Client, error) {
		address := identity
		if !strings.Contains(address, "://") {
			address = "https://" + address
		}
		if isExample(address) {
			return nil, errors.New("it is an example's address")
		}
		client, _, err := c.clientOf(address, s) // its limiter is closed with the process
		return client, err
	}
}

// aliases are the identities of gates that the configuration declares to be one.
func (c *config) aliases() []string {
	if len(c.Gate.Aliases) == 0 {
		return nil
	}
	var ids []string
	for _, u := range append([]string{c.Gate.BaseURL}, c.Gate.Aliases...) {
		if id, err := payout.GateIdentity(u); err == nil { // validated before
			ids = append(ids, id)
		}
	}
	return ids
}

// reconciler polls as the configuration says.
func (c *config) reconciler(s store.Store, client *gate.Client, notify func(string)) *batch.Reconciler {
	return &batch.Reconciler{
		Store: s, Gate: client, Workers: c.Gate.Workers, Timeout: c.Gate.Timeout, StatusAfter: c.Gate.StatusAfter,
		Aliases: c.aliases(), Others: c.otherGate(s), Notify: notify,
	}
}

func (c *config) clientOf(address string, s store.Store) (client *gate.Client, closer func(), err error) {
	keys, err := c.secrets()
	if err != nil {
		return nil, nil, err
	}
	if err := proxyError(os.Environ()); err != nil {
		return nil, nil, err
	}
	limiter, err := s.Limiter(c.Gate.Rate, c.Gate.Burst)
	if err != nil {
		return nil, nil, err
	}
	client, err = gate.NewClient(gate.Options{
		BaseURL: address, Keys: keys, Limiter: limiter, Timeout: c.Gate.Timeout,
		Transport: transport.New(c.Gate.Workers), Version: version, MaySend: s.MaySend,
	})
	if err != nil {
		return nil, nil, errors.Join(err, limiter.Close())
	}
	return client, func() { client.Close(); _ = limiter.Close() }, nil
}

// proxyError says that the environment names a proxy that cannot be read: Go leaves it
// out silently, and requests would leave by another way than was meant.
func proxyError(environ []string) error {
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch strings.ToUpper(name) {
		case "HTTPS_PROXY", "HTTP_PROXY":
		default:
			continue
		}
		if value == "" || readableProxy(value) || !strings.Contains(value, "://") && readableProxy("http://"+value) {
			continue
		}
		return failf(exitConfig, "as in "+name+"=http://proxy.example:3128, or take it out", "%s is no address of a proxy; nothing was sent", name)
	}
	return nil
}

func readableProxy(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Hostname() != "" && (strings.Contains(u.Host, "[") || !strings.Contains(u.Hostname(), ":")) && !wrongPort(u) && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}
