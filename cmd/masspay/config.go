package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"masspay/payout"
)

// config is what masspay.yaml says. A name here is the key in the file, and
// with MASSPAY_ before it and underscores the environment variable.
type config struct {
	Gate      gateConfig      `yaml:"gate"`
	Projects  []projectConfig `yaml:"projects"`
	Limits    limitsConfig    `yaml:"limits"`
	Result    resultConfig    `yaml:"result"`
	Store     storeConfig     `yaml:"store"`
	Callbacks callbacksConfig `yaml:"callbacks"`
	Admin     adminConfig     `yaml:"admin"`

	file string            // where it was read
	env  map[string]string // MASSPAY_... variables
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

type limitsConfig struct {
	RunTotal string `yaml:"run_total"`
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
	Path       string `yaml:"path"`
	KeyFile    string `yaml:"key_file"`
	Marker     string `yaml:"marker"`
	FileSystem string `yaml:"filesystem"`
}

// anyFileSystem lets the store be on a file system that is not known to keep locks.
const anyFileSystem = "any"

type callbacksConfig struct {
	Listen         string   `yaml:"listen"`
	Path           string   `yaml:"path"`
	Allow          []string `yaml:"allow"`
	TrustedProxies []string `yaml:"trusted_proxies"`
}

type adminConfig struct {
	Listen string `yaml:"listen"`
}

func defaultConfig() config {
	return config{
		Gate: gateConfig{
			Rate: 5, Burst: 1, Workers: 16, Timeout: 30 * time.Second, Attempts: 5,
			StatusAfter: payout.DefaultStatusAfter, QuietPeriod: payout.DefaultQuietPeriod, MaxRefusals: 20,
		},
		Result:    resultConfig{Mode: "0640"},
		Callbacks: callbacksConfig{Listen: "127.0.0.1:8080", Path: "/callbacks"},
	}
}

// configFiles are looked for in this order where --config says nothing.
var configFiles = []string{"masspay.yaml", "/etc/masspay/masspay.yaml"}

// findConfig names the configuration file, or says where it was looked for.
func findConfig(flag string, env map[string]string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if env["MASSPAY_CONFIG"] != "" {
		return env["MASSPAY_CONFIG"], nil
	}
	for _, f := range configFiles {
		if _, err := os.Stat(f); err == nil {
			return f, nil
		}
	}
	return "", failf(exitConfig, "masspay init writes a configuration to start from; masspay demo needs none",
		"no configuration: looked for --config, MASSPAY_CONFIG, ./masspay.yaml and /etc/masspay/masspay.yaml; nothing was sent")
}

// masspayEnv picks the program's variables out of an environment.
func masspayEnv(environ []string) map[string]string {
	env := map[string]string{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if value != "" && (strings.HasPrefix(name, "MASSPAY_") || name == "CREDENTIALS_DIRECTORY") { // an empty one is none
			env[name] = value
		}
	}
	return env
}

// configError collects all problems of a configuration.
func configError(file string, problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	n := fmt.Sprintf("%d problems", len(problems))
	if len(problems) == 1 {
		n = "1 problem"
	}
	return &failure{
		code: exitConfig, err: fmt.Errorf("%s: %s, nothing was sent", file, n), lines: problems,
		hint: "the README explains every key of the configuration",
	}
}

// loadConfig reads file and environment, and returns all that is wrong with
// them at once.
func loadConfig(file string, env map[string]string) (*config, error) {
	c := defaultConfig()
	c.file, c.env = file, env
	text, err := os.ReadFile(file) //nolint:gosec // the file that the user named
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failf(exitConfig, "masspay init --config "+file+" writes a configuration to start from", "%s: no such configuration; nothing was sent", file)
	}
	if err != nil {
		return nil, err
	}
	if err := notForAll("the configuration", file); err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var problems []string
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		wrong, syntax := yamlProblems(err, string(text))
		if syntax {
			return nil, configError(file, wrong) // nothing else was read
		}
		problems = append(problems, wrong...)
	}
	problems = append(problems, leadingZeros(string(text))...)
	problems = append(problems, overlay(reflect.ValueOf(&c).Elem(), "MASSPAY", env)...)
	problems = append(problems, unknownEnv(env)...)
	problems = append(problems, c.tildes()...)
	c.resolvePaths()
	problems = append(problems, c.validate()...)
	return &c, configError(file, problems)
}

// overlay sets what the environment names: MASSPAY_GATE_RATE is gate.rate.
// Lists are divided by commas.
func overlay(v reflect.Value, prefix string, env map[string]string) (problems []string) {
	for i := range v.NumField() {
		key, ok := v.Type().Field(i).Tag.Lookup("yaml")
		if !ok {
			continue
		}
		name, f := prefix+"_"+strings.ToUpper(key), v.Field(i)
		if f.Kind() == reflect.Struct {
			problems = append(problems, overlay(f, name, env)...)
			continue
		}
		text, ok := env[name]
		if !ok {
			continue
		}
		if err := set(f, text); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", name, err))
		}
	}
	return problems
}

func set(f reflect.Value, text string) error {
	switch f.Interface().(type) {
	case string:
		f.SetString(text)
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("want a whole number")
		}
		f.SetInt(int64(n))
	case float64:
		n, err := strconv.ParseFloat(text, 64) //nolint:forbidigo // a rate, not an amount
		if err != nil {
			return errors.New("want a number")
		}
		f.SetFloat(n)
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("want a duration such as 30s or 15m")
		}
		f.SetInt(int64(d))
	case []string:
		var list []string
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		f.Set(reflect.ValueOf(list))
	default:
		return errors.New("cannot be set by the environment; write it into the configuration file")
	}
	return nil
}

// envNames lists the variables that overlay knows.
func envNames(t reflect.Type, prefix string) (names []string) {
	for f := range t.Fields() {
		key, ok := f.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		name := prefix + "_" + strings.ToUpper(key)
		if f.Type.Kind() == reflect.Struct {
			names = append(names, envNames(f.Type, name)...)
			continue
		}
		names = append(names, name)
	}
	return names
}

var configType = reflect.TypeFor[config]()

func unknownEnv(env map[string]string) (problems []string) {
	known := append(envNames(configType, "MASSPAY"), "MASSPAY_CONFIG", envProfile, envStoreKey, "CREDENTIALS_DIRECTORY")
	for name := range env {
		if !slices.Contains(known, name) && !strings.HasPrefix(name, envSecret) {
			problems = append(problems, "environment variable "+name+" is unknown")
		}
	}
	slices.Sort(problems)
	return problems
}

// resolvePaths makes paths relative to the configuration's folder, so that a
// cron job finds the same files as a person.
func (c *config) resolvePaths() {
	folder := filepath.Dir(c.file)
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	abs(&c.Store.Path)
	c.Store.Path = realStorePath(c.Store.Path)
	abs(&c.Store.KeyFile)
	abs(&c.Store.Marker)
	for i := range c.Projects {
		abs(&c.Projects[i].SecretFile)
		abs(&c.Projects[i].PreviousSecretFile)
	}
}

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
	if c.Store.Path == "" {
		bad("store.path is missing")
	}
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
	problems = append(problems, c.Callbacks.validate()...)
	if c.Admin.Listen != "" {
		if wrong := wrongListen("admin.listen", c.Admin.Listen); wrong != "" {
			bad("%s", wrong)
		}
	}
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
			problems = append(problems, fmt.Sprintf("projects: %d stands twice", p.ID))
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

// hash names the configuration in the record of a run. It holds no secrets:
// the configuration has none, only the names of their files.
func (c *config) hash() string {
	text, err := yaml.Marshal(c)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

func (c *config) hasProject(id uint32) bool {
	return slices.ContainsFunc(c.Projects, func(p projectConfig) bool { return p.ID == id })
}
