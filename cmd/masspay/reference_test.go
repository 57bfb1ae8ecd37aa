package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra/doc"
	"github.com/stretchr/testify/require"

	"masspay/batch/result"
	"masspay/docs/docstest"
)

// The pages of docs/reference are those of the code: go test ./cmd/masspay -run
// TestReferenceIsTrue -update writes them.
func TestReferenceIsTrue(t *testing.T) {
	t.Parallel()
	const reference = "../../docs/reference/"

	t.Run("commands", func(t *testing.T) {
		made, folder := t.TempDir(), reference+"commands"
		root := (&app{}).root()
		root.DisableAutoGenTag = true
		require.NoError(t, doc.GenMarkdownTree(root, made))
		if *docstest.Update {
			require.NoError(t, os.RemoveAll(folder))
			require.NoError(t, os.CopyFS(folder, os.DirFS(made)))
		}
		require.Equal(t, files(t, made), files(t, folder))
	})

	t.Run("exit codes", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("| code | meaning | the money |\n|---|---|---|\n")
		for _, c := range exitCodes {
			fmt.Fprintf(&b, "| %d | %s | %s |\n", c.code, c.meaning, c.money)
		}
		docstest.Section(t, reference+"exit-codes.md", "exit codes", b.String())
	})

	t.Run("configuration", func(t *testing.T) {
		page := reference + "configuration.md"
		rows := keys(configType, reflect.ValueOf(new(defaultConfig())).Elem(), "")
		docstest.Rows(t, page, rows)
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, row := range regexp.MustCompile("(?m)^\\| (`[a-z_.]+`) \\|").FindAllStringSubmatch(string(text), -1) {
			require.True(t, slices.ContainsFunc(rows, func(r []string) bool { return r[0] == row[1] }), "there is no key %s", row[1])
		}
	})

	t.Run("result", func(t *testing.T) {
		page, err := os.ReadFile(reference + "result.md")
		require.NoError(t, err)
		for _, word := range slices.Concat(result.Columns(), result.States, result.Actions) {
			require.Regexp(t, "(?m)^\\| [^|]*`"+regexp.QuoteMeta(word)+"`", string(page))
		}
	})

	t.Run("problems", func(t *testing.T) {
		docstest.Section(t, reference+"problems.md", "problems", problemTable(t))
	})
}

// files are the contents of a folder's files, by name.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		require.NoError(t, err)
		all[e.Name()] = string(b)
	}
	return all
}

// keys are the first cells of a row for every key of the configuration: its name, its variable of
// the environment, and its default, where it has one.
func keys(of reflect.Type, defaults reflect.Value, prefix string) (rows [][]string) {
	for f := range of.Fields() {
		key, ok := f.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		v := defaults.FieldByIndex(f.Index)
		if f.Type.Kind() == reflect.Struct {
			rows = append(rows, keys(f.Type, v, prefix+key+".")...)
			continue
		}
		name := prefix + key
		row := []string{"`" + name + "`"}
		switch variable := "MASSPAY_" + strings.ToUpper(strings.ReplaceAll(name, ".", "_")); {
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct: // lists of more than words
			row = append(row, "")
		case strings.HasPrefix(name, "approval."):
			row = append(row, "not by the environment")
		default:
			row = append(row, "`"+variable+"`")
		}
		if !v.IsZero() {
			row = append(row, strings.TrimSuffix(strings.Replace(fmt.Sprint(v), "m0s", "m", 1), "0m"))
		}
		rows = append(rows, row)
	}
	return rows
}

// problemTable is what masspay says of each kind of problem in a file, with the cell that it is
// about; the file is one of the samples.
func problemTable(t *testing.T) string {
	t.Helper()
	const sample = "../../samples/problems.csv"
	var out, said bytes.Buffer
	require.Equal(t, exitFile, run(t.Context(), []string{"check", sample}, world{stdout: &out, stderr: &said}))
	problem := regexp.MustCompile(`^(?:line \d+(?: to \d+)?: )?(?:([a-z_]+(?:\.[a-z_]+)*|operation_type|method)(?: (".*?"))?: )?(.*)$`)
	elsewhere, alsoOn := regexp.MustCompile(` \(also lines? [^)]*\)`), regexp.MustCompile(`also on line \d+`)
	cells := regexp.MustCompile(`\|`)
	var b strings.Builder
	b.WriteString("| column | cell | what masspay says |\n|---|---|---|\n")
	seen := map[string]bool{}
	for line := range strings.Lines(out.String() + said.String()) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "line ") {
			continue
		}
		line = alsoOn.ReplaceAllString(elsewhere.ReplaceAllString(line, ""), "also on another line")
		m := problem.FindStringSubmatch(line)
		require.NotNil(t, m, line)
		if seen[m[1]+m[3]] {
			continue
		}
		seen[m[1]+m[3]] = true
		cell := ""
		if m[2] != "" {
			cell = "`" + cells.ReplaceAllString(m[2], `\|`) + "`"
		}
		column := ""
		if m[1] != "" {
			column = "`" + m[1] + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", column, cell, cells.ReplaceAllString(m[3], `\|`))
	}
	return b.String()
}

// anchor is what a heading is called in a link.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteRune('-')
		}
	}
	return b.String()
}

// pages are the documents of the repository, by their path in it.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "bin", "build", "dist", "testdata"}, d.Name()) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, "../../")] = string(b)
		return err
	}))
	return all
}

// Every link leads somewhere, and every page is found from the README.
func TestLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]*))?\)`)
	code := regexp.MustCompile("(?s)```.*?```")
	leads := map[string][]string{}
	for from, text := range all {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			to := from
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(from), m[1])
				require.FileExists(t, filepath.Join("../..", to), "a link in %s", from)
			}
			leads[from] = append(leads[from], to)
			if m[2] == "" {
				continue
			}
			var anchors []string
			for _, h := range heading.FindAllStringSubmatch(code.ReplaceAllString(all[to], ""), -1) {
				anchors = append(anchors, anchor(h[1]))
			}
			require.Contains(t, anchors, m[2], "a link in %s", from)
		}
	}
	found := map[string]bool{}
	var visit func(page string)
	visit = func(page string) {
		if found[page] {
			return
		}
		found[page] = true
		for _, to := range leads[page] {
			visit(to)
		}
	}
	visit("README.md")
	for page := range all {
		if strings.HasPrefix(page, "docs/") {
			require.True(t, found[page], "%s is found from nowhere", page)
		}
	}
}

// Every command of masspay in a fenced block of a page is one that there is, with flags and arguments
// that it takes.
func TestCommandsInPages(t *testing.T) {
	t.Parallel()
	word := regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)
	found := 0
	for name, text := range pages(t) {
		if strings.HasPrefix(name, "docs/reference/commands") {
			continue // made from the code, or an overview with words behind the commands
		}
		inside := false
		for i, line := range strings.Split(text, "\n") {
			line = strings.TrimSpace(line)
			if fence.MatchString(line) {
				inside = !inside
				continue
			}
			line = strings.TrimPrefix(strings.TrimPrefix(line, "$ "), "# ")
			rest, is := strings.CutPrefix(line, "masspay ")
			if !inside || !is || strings.HasPrefix(rest, "demo:") { // that is what one says
				continue
			}
			rest = regexp.MustCompile(`\s(?:[|<>;&]|2>|#\s|&&).*`).ReplaceAllString(strings.ReplaceAll(rest, ";", " ;")+" ", "")
			words := word.FindAllString(rest, -1)
			c, args, err := (&app{}).root().Find(words)
			require.NoError(t, err, "%s:%d: %s", name, i+1, line)
			require.NoError(t, c.ParseFlags(args), "%s:%d: %s", name, i+1, line)
			require.NoError(t, c.ValidateArgs(c.Flags().Args()), "%s:%d: %s", name, i+1, line)
			found++
		}
	}
	require.Greater(t, found, 40)
}

// Whoever has never seen masspay reads the README to its end; and no page promises what is not
// there.
func TestREADME(t *testing.T) {
	t.Parallel()
	all := pages(t)
	readme := all["README.md"]
	require.Less(t, strings.Count(readme, "\n"), 180)
	for _, want := range []string{"make demo", "make test"} {
		require.Contains(t, readme, want)
	}
	for name, text := range all {
		require.False(t, strings.Contains(text, "TODO"), name)
	}
	overview := all["docs/reference/commands.md"]
	for _, c := range (&app{}).root().Commands() {
		if !c.Hidden {
			require.Contains(t, overview, "masspay "+c.Name())
		}
	}
}
