package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

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
		hint: "docs/reference/configuration.md explains every key",
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
		if strings.HasPrefix(name, "MASSPAY_APPROVAL_") {
			problems = append(problems, name+": who must release a file is not said by the environment; write it into the configuration file")
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
	case bool:
		set, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		f.SetBool(set)
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
	if c.Store.URL != "" && c.Store.Marker == "" {
		c.Store.Marker = "masspay.marker"
	}
	abs(&c.Store.Marker)
	abs(&c.Store.PasswordFile)
	abs(&c.Approval.SignersFile)
	for _, p := range []*string{&c.Admin.TokensFile, &c.Admin.TLS.CertFile, &c.Admin.TLS.KeyFile, &c.Admin.TLS.ClientCAFile, &c.Metrics.Textfile, &c.Inbox.Folder, &c.Inbox.Results} {
		abs(p)
	}
	for i := range c.Projects {
		abs(&c.Projects[i].SecretFile)
		abs(&c.Projects[i].PreviousSecretFile)
	}
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
