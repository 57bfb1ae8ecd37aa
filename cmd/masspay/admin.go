package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"
	_ "time/tzdata" // a bare image has no time zones

	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"masspay/metrics"
	"masspay/store"
	"masspay/web"
)

func (c *adminConfig) validate() (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	unix := strings.HasPrefix(c.Listen, "unix:")
	if c.Listen != "" && !unix {
		if wrong := wrongListen("admin.listen", c.Listen); wrong != "" {
			bad("%s", wrong)
			return problems
		}
	}
	if unix && !strings.HasPrefix(c.Listen, "unix:/") {
		bad("admin.listen %s: want a whole path, as unix:/run/masspay/admin.sock", said(c.Listen))
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("admin.tls: cert_file and key_file go together")
	}
	if c.TLS.ClientCAFile != "" && c.TLS.CertFile == "" {
		bad("admin.tls.client_ca_file: clients have certificates only where the server has one: cert_file and key_file are missing")
	}
	if c.Listen != "" && !unix && c.TokensFile != "" && c.TLS.CertFile == "" && !onLoopback(c.Listen) {
		bad("admin.listen %s: pages beyond this machine need admin.tls, or tokens could be read on their way; a Unix socket (unix:/run/masspay/admin.sock) or 127.0.0.1 needs none", said(c.Listen))
	}
	if b := c.BasePath; b != "" && (!strings.HasPrefix(b, "/") || strings.HasSuffix(b, "/") || strings.ContainsAny(b, "?#%{} \\") || strings.Contains(b, "//") || strings.Contains(b, "..")) {
		bad("admin.base_path %s: want a path as /masspay", said(b))
	}
	if _, err := time.LoadLocation(c.Timezone); err != nil {
		bad("admin.timezone %s: no such time zone; want one as Asia/Bishkek", said(c.Timezone))
	}
	return problems
}

// onLoopback reports whether an address is reached from this machine only.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// private opens the private side: health, and pages for people.
func (a *app) private(ctx context.Context, c *config, s store.Store, heard *web.Heard, log *slog.Logger) (*web.Server, error) {
	admin, err := a.admin(c, s, heard, log)
	if err != nil {
		return nil, err
	}
	server, err := web.Open(ctx, c.Admin.Listen, admin.Handler())
	if err != nil || c.Admin.TLS.CertFile == "" {
		return server, err
	}
	t, err := web.TLS(c.Admin.TLS.CertFile, c.Admin.TLS.KeyFile, c.Admin.TLS.ClientCAFile)
	if err != nil {
		return nil, failf(exitConfig, "admin.tls names a certificate and its key, in PEM", "admin.tls: %s; nothing was sent", oneLine(err.Error()))
	}
	server.Encrypt(t)
	return server, nil
}

func (a *app) admin(c *config, s store.Store, heard *web.Heard, log *slog.Logger) (*web.Admin, error) {
	zone := time.Local
	if c.Admin.Timezone != "" {
		zone, _ = time.LoadLocation(c.Admin.Timezone) // validate has tried it
	}
	pages := &web.Pages{Source: s, Restored: s.Restored, Rules: c.rules(), Base: c.Admin.BasePath, Zone: zone, Version: version, Log: log}
	for _, p := range c.Projects {
		pages.Projects = append(pages.Projects, p.ID)
	}
	access := web.Access{Everyone: strings.HasPrefix(c.Admin.Listen, "unix:"), Certificates: c.Admin.TLS.ClientCAFile != ""}
	if file := c.Admin.TokensFile; file != "" {
		tokens, err := web.OpenTokens(file, log)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, failf(exitConfig, "masspay token NAME >> "+shellWord(file)+" makes it, with a token for NAME", "admin.tokens_file %s: there is no such file", file)
		}
		if err != nil {
			return nil, failf(exitConfig, "masspay token NAME prints the line for a person", "admin.tokens_file: %s", oneLine(err.Error()))
		}
		access.Tokens = tokens
	}
	pages.Heard, pages.Size = heard, c.Store.size()
	pages.Rate = c.Gate.Rate
	_, pages.Copies = s.(store.Backuper)
	if peopled, ok := s.(store.Peopled); ok {
		pages.Processes = peopled.Processes
	}
	figures := metrics.New(s, metrics.Options{Version: version, Size: c.Store.size(), Callbacks: heard.Counts, Process: a.process})
	figures.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &web.Admin{
		Ready: ready(s), Pages: pages, Access: access, Log: log,
		Metrics: promhttp.HandlerFor(figures, promhttp.HandlerOpts{}), MetricsOpen: access.Everyone || onLoopback(c.Admin.Listen), Asked: a.process.Asked,
	}, nil
}

func (a *app) tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token NAME",
		Short: "Make a token with which a person or a monitoring system sees the pages of serve",
		Long: `Make a token with which NAME sees the pages of masspay serve, and a monitoring system its
figures. The token is shown once, on stderr: NAME is the user, the token the password. The
line for admin.tokens_file goes to stdout; it holds the token's SHA-256 and not the token.
Who removes the line takes the token back; serve sees that at once. Touches no store.`,
		Args: args(1, 1, "a name"),
		RunE: func(_ *cobra.Command, args []string) error {
			token, line, err := web.NewToken(args[0])
			if err != nil {
				return failf(exitConfig, "masspay token anna >> tokens", "%s", err.Error())
			}
			a.say("token of %s, shown once: %s", args[0], token)
			_, err = fmt.Fprintln(a.w.stdout, line)
			return err
		},
	}
}
