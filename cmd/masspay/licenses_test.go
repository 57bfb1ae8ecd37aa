package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var writeLicenses = flag.Bool("licenses", false, "write third-party.txt again")

// linked is a module of which something is linked into masspay.
type linked struct{ Path, Version, Dir string }

// linkedModules are those of all systems that masspay is built for.
func linkedModules(t *testing.T) []linked {
	t.Helper()
	all := map[string]linked{}
	for _, system := range []string{"linux", "darwin"} {
		list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Module", ".")
		list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		out, err := list.Output()
		require.NoError(t, err)
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct {
				Module *struct {
					linked
					Main bool
				}
			}
			err := d.Decode(&p)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			if p.Module != nil && !p.Module.Main {
				all[p.Module.Path] = p.Module.linked
			}
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b linked) int { return cmp.Compare(a.Path, b.Path) })
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// licenceOf are the texts of a folder's licence.
func licenceOf(t *testing.T, folder, name string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	var texts []string
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		require.NoError(t, err)
		texts = append(texts, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
	}
	require.NotEmpty(t, texts, "%s has no licence in %s", name, folder)
	return strings.Join(texts, "\n\n")
}

// htmxLicence is that of the script on the pages (web/assets/VENDORED), 0BSD.
const htmxLicence = `Zero-Clause BSD
=============

Permission to use, copy, modify, and/or distribute this software for
any purpose with or without fee is hereby granted.

THE SOFTWARE IS PROVIDED “AS IS” AND THE AUTHOR DISCLAIMS ALL
WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES
OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE
FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY
DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN
AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF
OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.`

// What masspay licenses prints is what is linked, with the versions of go.mod. After a change of
// modules: make licenses.
func TestThirdParty(t *testing.T) {
	t.Parallel()
	under := map[string][]string{} // names by text: many have the same
	for _, m := range linkedModules(t) {
		text := licenceOf(t, m.Dir, m.Path)
		under[text] = append(under[text], m.Path+" "+m.Version)
	}
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	require.NoError(t, err)
	goText := licenceOf(t, strings.TrimSpace(string(root)), "Go")
	under[goText] = append(under[goText], "Go, its standard library and runtime")
	under[htmxLicence] = append(under[htmxLicence], "htmx.org 4.0.1")
	var b strings.Builder
	b.WriteString("The software of others that is part of masspay, with its licences.\n")
	for _, text := range slices.SortedFunc(maps.Keys(under), func(x, y string) int { return cmp.Compare(under[x][0], under[y][0]) }) {
		_, _ = fmt.Fprintf(&b, "\n%s\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(under[text], "\n"), strings.Repeat("-", 80), text)
	}
	if *writeLicenses {
		require.NoError(t, os.WriteFile("third-party.txt", []byte(b.String()), 0o600))
	} else {
		require.Equal(t, b.String(), thirdParty, "make licenses")
	}
	vendored, err := os.ReadFile("../../web/assets/VENDORED")
	require.NoError(t, err)
	require.Contains(t, string(vendored), "htmx.min.js 4.0.1 0BSD")
}
