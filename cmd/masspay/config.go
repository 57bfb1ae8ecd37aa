package main

import (
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"masspay/batch/payfile"
	"masspay/payout"
)

// config is what masspay.yaml says. A name here is the key in the file, and
// with MASSPAY_ before it and underscores the environment variable.
type config struct {
	Gate       gateConfig       `yaml:"gate"`
	Projects   []projectConfig  `yaml:"projects"`
	Limits     limitsConfig     `yaml:"limits"`
	Lookalikes lookalikesConfig `yaml:"lookalikes"`
	Approval   approvalConfig   `yaml:"approval"`
	Breakers   breakersConfig   `yaml:"breakers"`
	Result     resultConfig     `yaml:"result"`
	Inbox      inboxConfig      `yaml:"inbox"`
	Store      storeConfig      `yaml:"store"`
	Callbacks  callbacksConfig  `yaml:"callbacks"`
	Admin      adminConfig      `yaml:"admin"`
	Metrics    metricsConfig    `yaml:"metrics"`
	Work       workConfig       `yaml:"work"`

	file     string            // where it was read
	settling bool              // what is said otherwise in the store is about to be changed
	env      map[string]string // MASSPAY_... variables

	sound  atomic.Bool                      // this process has looked at every page of the store
	waited func(d time.Duration, busy bool) // is told of each turn at the store; nil: nobody is
}

type gateConfig struct {
	BaseURL     string        `yaml:"base_url"`
	Aliases     []string      `yaml:"aliases"`
	Rate        float64       `yaml:"rate"`
	Burst       int           `yaml:"burst"`
	Workers     int           `yaml:"workers"`
	Timeout     time.Duration `yaml:"timeout"`
	Attempts    int           `yaml:"attempts"`
	StatusAfter time.Duration `yaml:"status_after"`
	QuietPeriod time.Duration `yaml:"quiet_period"`
	MaxRefusals int           `yaml:"max_refusals"`
}

type projectConfig struct {
	ID                 uint32 `yaml:"id"`
	SecretFile         string `yaml:"secret_file"`
	PreviousSecretFile string `yaml:"previous_secret_file"`
}

type resultConfig struct {
	Mode string `yaml:"mode"`
}

// perm are the permissions of a new result.
func (r resultConfig) perm() (fs.FileMode, error) {
	n, err := strconv.ParseUint(r.Mode, 8, 32)
	if err != nil || n > 0o777 || n&0o600 != 0o600 || n&0o111 != 0 {
		return 0, fmt.Errorf("result.mode %s: want permissions as 0640, with which its owner reads and writes it", said(r.Mode))
	}
	return fs.FileMode(n), nil
}

type storeConfig struct {
	Path         string `yaml:"path"` // of an embedded store, or
	URL          string `yaml:"url"`  // of a database that many machines share
	PasswordFile string `yaml:"password_file"`
	Synchronous  bool   `yaml:"synchronous"`
	KeyFile      string `yaml:"key_file"`
	Marker       string `yaml:"marker"`
	FileSystem   string `yaml:"filesystem"`
}

// name is what messages call the store.
func (s *storeConfig) name() string {
	if s.URL == "" {
		return s.Path
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return "the database of store.url"
	}
	u.RawQuery, u.User = "", nil
	return u.String()
}

// anyFileSystem lets the store be on a file system that is not known to keep locks.
const anyFileSystem = "any"

type callbacksConfig struct {
	Listen         string   `yaml:"listen"`
	Path           string   `yaml:"path"`
	Allow          []string `yaml:"allow"`
	TrustedProxies []string `yaml:"trusted_proxies"`
}

// workConfig is for masspay work.
type workConfig struct {
	Shares int `yaml:"shares"`
}

// adminConfig is the private side: health, and pages for people.
type adminConfig struct {
	Listen     string         `yaml:"listen"`
	TokensFile string         `yaml:"tokens_file"`
	TLS        adminTLSConfig `yaml:"tls"`
	BasePath   string         `yaml:"base_path"`
	Timezone   string         `yaml:"timezone"`
}

type adminTLSConfig struct {
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file"`
}

func defaultConfig() config {
	return config{
		Gate: gateConfig{
			Rate: 5, Burst: 1, Workers: 16, Timeout: 30 * time.Second, Attempts: 5,
			StatusAfter: payout.DefaultStatusAfter, QuietPeriod: payout.DefaultQuietPeriod, MaxRefusals: 20,
		},
		Result:     resultConfig{Mode: "0640"},
		Lookalikes: lookalikesConfig{Days: 10, Twins: string(payfile.Warn), IDs: string(payfile.Warn), Changed: string(payfile.Warn)},
		Breakers:   breakersConfig{DeclinedLeast: 20},
		Approval:   approvalConfig{MaxAge: 72 * time.Hour},
		Work:       workConfig{Shares: 2},
		Callbacks:  callbacksConfig{Listen: "127.0.0.1:8080", Path: "/callbacks"},
	}
}

// prefixes are what validate has checked.
func prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		if p, err := parsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func (c *config) hasProject(id uint32) bool {
	return slices.ContainsFunc(c.Projects, func(p projectConfig) bool { return p.ID == id })
}
