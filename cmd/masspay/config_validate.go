package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"masspay/payout"
)

// validate says what is wrong with where the store is.
func (s *storeConfig) validate() (problems []string) {
	bad := func(text string) { problems = append(problems, text) }
	switch {
	case s.Path == "" && s.URL == "":
		bad("store.path is missing")
	case s.Path != "" && s.URL != "":
		bad("store.path and store.url: one store is a file or in a database, not both")
	}
	if s.URL == "" {
		if s.PasswordFile != "" || s.Synchronous {
			bad("store.password_file and store.synchronous belong to store.url")
		}
		return problems
	}
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql":
		bad("store.url: want the address of a PostgreSQL database, as in postgres://masspay@db.example/masspay")
	case u.User != nil && hasPassword(u), u.Query().Has("password"):
		bad("store.url has a password in it: take it out, and write it into a file that store.password_file names")
	}
	if s.FileSystem != "" {
		bad("store.filesystem belongs to store.path")
	}
	return problems
}

// fencing is how long after others have taken a machine for dead it may still send, with what
// clocks may be wrong by.
const fencing = 30 * time.Second

func hasPassword(u *url.URL) bool { _, has := u.User.Password(); return has }

func (c *config) validate() (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	g := c.Gate
	loopback := c.validateURL(bad)
	if g.Rate < 0.01 || g.Rate > 100_000 {
		bad("gate.rate %v: want requests per second, 0.01 to 100,000", g.Rate)
	}
	if g.Burst < 1 {
		bad("gate.burst %d: want at least 1", g.Burst)
	}
	if g.Workers < 1 || g.Workers > 1024 {
		bad("gate.workers %d: want 1 to 1024", g.Workers)
	}
	if g.Timeout < time.Second {
		bad("gate.timeout %v: want at least 1s, e.g. 30s", g.Timeout)
	}
	if g.Attempts < 1 {
		bad("gate.attempts %d: want at least 1", g.Attempts)
	}
	if g.MaxRefusals < 1 {
		bad("gate.max_refusals %d: want at least 1", g.MaxRefusals)
	}
	if g.StatusAfter <= 0 || g.StatusAfter < 10*time.Second && !loopback {
		bad("gate.status_after %v: the platform wants at least 10s between a payout and a question about it", g.StatusAfter)
	}
	if g.QuietPeriod < g.StatusAfter || g.QuietPeriod < time.Minute && !loopback {
		bad("gate.quiet_period %v: want at least 1m and status_after; a short one can pay twice", g.QuietPeriod)
	}
	if g.QuietPeriod < g.Timeout && !loopback {
		bad("gate.quiet_period %v: want more than gate.timeout (%v), or a request may still be under way when its payout is sent again", g.QuietPeriod, g.Timeout)
	}
	problems = append(problems, c.validateProjects()...)
	if c.Store.URL != "" && g.QuietPeriod < g.Timeout+fencing && !loopback {
		bad("gate.quiet_period %v: with store.url, want at least gate.timeout and %v, for what a machine may still send that others take for dead", g.QuietPeriod, fencing)
	}
	problems = append(problems, c.Store.validate()...)
	if c.Store.FileSystem != "" && c.Store.FileSystem != anyFileSystem {
		bad("store.filesystem %s: want any, or nothing", said(c.Store.FileSystem))
	}
	for _, alias := range g.Aliases {
		if _, err := payout.GateIdentity(alias); err != nil {
			bad("gate.aliases: %s", wrongURL(alias))
		}
	}
	if _, err := c.Result.perm(); err != nil {
		bad("%v", err)
	}
	if c.Limits.RunTotal != "" {
		if _, err := payout.ParseTotal(c.Limits.RunTotal); err != nil {
			bad("limits.run_total %s: want an amount with its currency, as in 5000000.00KGS", said(c.Limits.RunTotal))
		}
	}
	_, wrong := c.Limits.rules()
	problems = append(problems, wrong...)
	_, wrong = c.Limits.hours()
	problems = append(problems, wrong...)
	problems = append(problems, c.Breakers.validate()...)
	problems = append(problems, c.Lookalikes.validate()...)
	_, wrong = c.Approval.policy()
	problems = append(problems, wrong...)
	for i, r := range c.Limits.Rules {
		if r.Project != 0 && !c.hasProject(r.Project) {
			bad("limits.rules[%d].project %d is not among the projects", i, r.Project)
		}
	}
	if c.Work.Shares < 1 || c.Work.Shares > 64 {
		bad("work.shares %d: want 1 to 64", c.Work.Shares)
	}
	problems = append(problems, c.Callbacks.validate()...)
	problems = append(problems, c.Inbox.validate()...)
	problems = append(problems, c.Admin.validate()...)
	return problems
}

// validateURL checks the gate's address and reports whether it is a loopback.
func (c *config) validateURL(bad func(string, ...any)) (loopback bool) {
	if c.Gate.BaseURL == "" {
		bad("gate.base_url is missing: the platform tells you its address")
		return false
	}
	u, err := url.Parse(c.Gate.BaseURL)
	if err == nil {
		_, err = payout.GateIdentity(c.Gate.BaseURL)
	}
	if err == nil && wrongPort(u) {
		err = errors.New("port")
	}
	if err != nil {
		bad("gate.base_url: %s", wrongURL(c.Gate.BaseURL)) // not shown: it may hold a password
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	loopback = u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	if u.Scheme == "http" && !loopback {
		bad("gate.base_url %s: only https, or http to a loopback address", said(c.Gate.BaseURL))
	}
	return loopback
}

// isExample reports whether an address is one that no gate can have; RFC 6761.
func isExample(address string) bool {
	u, err := url.Parse(address)
	host := ""
	if err == nil {
		host = strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	}
	return host == "example" || strings.HasSuffix(host, ".example") || strings.HasSuffix(host, ".invalid")
}

// noExample refuses to talk to the gate of an example.
func (c *config) noExample() error {
	if !isExample(c.Gate.BaseURL) {
		return nil
	}
	return failf(exitConfig, "put the address that the platform has given you into gate.base_url, then masspay ping",
		"gate.base_url is %s, which is an example and no gate; nothing was sent", c.Gate.BaseURL)
}

func (c *config) validateProjects() (problems []string) {
	if len(c.Projects) == 0 {
		problems = append(problems, "projects: at least one is needed")
	}
	seen := map[uint32]bool{}
	for i, p := range c.Projects {
		if p.ID == 0 {
			problems = append(problems, fmt.Sprintf("projects[%d].id is missing", i))
		}
		if seen[p.ID] {
			problems = append(problems, fmt.Sprintf("projects: %d is listed twice", p.ID))
		}
		seen[p.ID] = true
	}
	return problems
}

func (c callbacksConfig) validate() (problems []string) {
	if c.Listen != "" {
		if wrong := wrongListen("callbacks.listen", c.Listen); wrong != "" {
			problems = append(problems, wrong)
		}
	}
	if !strings.HasPrefix(c.Path, "/") {
		problems = append(problems, fmt.Sprintf("callbacks.path %s: want a path such as /callbacks", said(c.Path)))
	}
	for key, list := range map[string][]string{"allow": c.Allow, "trusted_proxies": c.TrustedProxies} {
		for _, s := range list {
			if _, err := parsePrefix(s); err != nil {
				problems = append(problems, fmt.Sprintf("callbacks.%s %s: want an address or a range such as 203.0.113.0/24", key, said(s)))
			}
		}
	}
	slices.Sort(problems)
	return problems
}

func parsePrefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}
