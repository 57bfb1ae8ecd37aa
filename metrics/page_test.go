package metrics_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"masspay/docs/docstest"
)

// holdPage compares the tables of docs/reference/metrics.md with what is gathered, and with the
// alerts: go test ./metrics -update writes them.
func holdPage(t *testing.T, from ...prometheus.Gatherer) {
	t.Helper()
	families, err := prometheus.Gatherers(from).Gather()
	require.NoError(t, err)
	var b strings.Builder
	b.WriteString("| figure | kind | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	for _, file := range []string{"metrics.go", "process.go"} {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`(?:desc\("|Name: "masspay_)([a-z_]+)`).FindAllStringSubmatch(string(source), -1) {
			require.Contains(t, b.String(), "`masspay_"+name[1]+"`", "every figure is among them")
		}
	}
	const page = "../docs/reference/metrics.md"
	docstest.Section(t, page, "figures", b.String())

	rules, err := os.ReadFile("../samples/prometheus/masspay.rules.yml")
	require.NoError(t, err)
	var all struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				For         string
				Labels      struct{ Severity string }
				Annotations struct{ Summary, Description string }
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(rules, &all))
	value := regexp.MustCompile(`\{\{ \$labels\.(\w+) \}\}|\{\{[^}]*\}\}`)
	words := func(s string) string {
		return value.ReplaceAllStringFunc(s, func(m string) string {
			if name := value.FindStringSubmatch(m)[1]; name != "" {
				return strings.ToUpper(name)
			}
			return "N"
		})
	}
	b.Reset()
	b.WriteString("| alert | who looks | it says | what to do |\n|---|---|---|---|\n")
	for _, r := range all.Groups[0].Rules {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Alert, r.Labels.Severity, words(r.Annotations.Summary), words(r.Annotations.Description))
	}
	docstest.Section(t, page, "alerts", b.String())
}
