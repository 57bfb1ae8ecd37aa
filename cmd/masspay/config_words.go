package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"masspay/batch/payfile"

	"go.yaml.in/yaml/v3"
)

// What is wrong with a configuration is said in plain words, with the key and an
// example. A value is repeated only where it cannot be a secret that was typed into the
// wrong key.

// wanted is what a key of a type wants, with an example.
var wanted = map[string]string{
	"time.Duration": "a time with a unit, as in 30s, 15m or 2h",
	"float64":       "a number, as in 5",
	"int":           "a whole number, as in 16",
	"uint32":        "the number of a project, as in 1234",
	"string":        "a text on the same line",
	"[]string":      "a list, as in [203.0.113.7, 203.0.113.0/24]",
}

var (
	unmarshals = regexp.MustCompile("^line ([0-9]+): cannot unmarshal (!![a-z]+) (?:`.*` )?into (.+)$")
	unknownKey = regexp.MustCompile(`^line ([0-9]+): field (.+) not found in type `)
)

// yamlProblems makes the decoder's errors readable. text is what it read.
func yamlProblems(err error, text string) (problems []string, syntax bool) {
	var e *yaml.TypeError
	if !errors.As(err, &e) {
		s := strings.TrimPrefix(err.Error(), "yaml: ")
		if strings.Contains(s, "cannot start any token") || strings.Contains(s, "tab character") {
			s += " (a tab? only spaces may precede a key)"
		} else {
			s += " (here, or on the line before: a key is followed by a colon and a space, and is indented like its neighbours)"
		}
		return []string{s}, true
	}
	lines := strings.Split(text, "\n")
	for _, s := range e.Errors {
		if m := unknownKey.FindStringSubmatch(s); m != nil {
			like := ""
			if key := payfile.Nearest(m[2], keyNames(configType), 3); key != "" {
				like = ": did you mean " + key + "?"
			}
			problems = append(problems, fmt.Sprintf("line %s: unknown key %s%s", m[1], m[2], like))
			continue
		}
		m := unmarshals.FindStringSubmatch(s)
		if m == nil {
			problems = append(problems, s)
			continue
		}
		n, _ := strconv.Atoi(m[1]) // digits, by the expression
		key, value := "", ""
		if n >= 1 && n <= len(lines) {
			key, value, _ = strings.Cut(strings.TrimLeft(strings.TrimSpace(lines[n-1]), "- "), ":")
			value, _, _ = strings.Cut(value, " #")
		}
		want := wanted[m[3]]
		if want == "" {
			want = "other keys below it, indented by spaces"
		}
		if value = strings.TrimSpace(value); m[2] != "!!int" && m[2] != "!!float" {
			value = "" // it may be anything
		}
		problems = append(problems, fmt.Sprintf("line %s: %s%s: want %s", m[1], key, behind(" ", value), want))
	}
	return problems, false
}

// keyNames are the keys that a configuration may have, wherever they are.
func keyNames(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		key, ok := f.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		names = append(names, key)
		if of := f.Type; of.Kind() == reflect.Struct {
			names = append(names, keyNames(of)...)
		} else if of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct {
			names = append(names, keyNames(of.Elem())...)
		}
	}
	return names
}

// leadingZeros finds numbers that YAML would read in base 8.
func leadingZeros(text string) (problems []string) {
	var root yaml.Node
	if yaml.Unmarshal([]byte(text), &root) != nil {
		return nil // said elsewhere
	}
	var walk func(n *yaml.Node, key string)
	walk = func(n *yaml.Node, key string) {
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" && len(n.Value) > 1 && n.Value[0] == '0' && key != "mode" {
			problems = append(problems, fmt.Sprintf("line %d: %s %s: a number without zeros before it, as in %s", n.Line, key, n.Value, strings.TrimLeft(n.Value, "0xob")))
		}
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode {
				if i%2 == 0 {
					continue
				}
				key = n.Content[i-1].Value
			}
			walk(c, key)
		}
	}
	walk(&root, "")
	return problems
}

// harmlessValue is a value that a message may repeat.
var harmlessValue = regexp.MustCompile(`^[A-Za-z0-9.,:/\[\]_-]{0,60}$`)

// said is a value as a message shows it: not at all where it may hold a password.
func said(value string) string {
	if !harmlessValue.MatchString(value) || strings.Contains(value, "//") && !plainURL(value) {
		return "(not shown)"
	}
	return strconv.Quote(value)
}

func plainURL(value string) bool {
	u, err := url.Parse(value)
	return err == nil && u.User == nil && u.RawQuery == "" && u.Fragment == "" && u.Host != ""
}

// wrongListen says what is wrong with host:port.
func wrongListen(key, value string) string {
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		return fmt.Sprintf("%s %s: want host:port, as in 127.0.0.1:8080", key, said(value))
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Sprintf("%s %s: want a port up to 65535, as in 127.0.0.1:8080", key, said(value))
	}
	return ""
}

// wrongURL says why an address cannot be that of a gate.
func wrongURL(value string) string {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "want an address such as https://api.gate.example"
	case u.User != nil:
		return "an address with a user name or a password in it: take them out"
	case u.RawQuery != "" || u.Fragment != "":
		return "an address with something behind ? or #: take it out"
	}
	if wrongPort(u) {
		return "want a port up to 65535, as in https://api.gate.example:8443"
	}
	return "want an address such as https://api.gate.example"
}

// tildes finds paths that only a shell would understand.
func (c *config) tildes() (problems []string) {
	paths := map[string]string{"store.path": c.Store.Path, "store.key_file": c.Store.KeyFile, "store.marker": c.Store.Marker, "store.password_file": c.Store.PasswordFile, "approval.signers_file": c.Approval.SignersFile}
	for i, p := range c.Projects {
		paths[fmt.Sprintf("projects[%d].secret_file", i)] = p.SecretFile
		paths[fmt.Sprintf("projects[%d].previous_secret_file", i)] = p.PreviousSecretFile
	}
	for key, path := range paths {
		if first, _, _ := strings.Cut(filepath.ToSlash(path), "/"); strings.HasPrefix(first, "~") {
			problems = append(problems, key+": ~ is not your home here: write the whole path, as in /home/anna/1234.secret")
		}
	}
	slices.Sort(problems)
	return problems
}

func wrongPort(u *url.URL) bool {
	p := u.Port()
	n, err := strconv.Atoi(p)
	return p != "" && (err != nil || n < 1 || n > 65535)
}
