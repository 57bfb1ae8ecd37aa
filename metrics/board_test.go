package metrics_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/stretchr/testify/require"

	"masspay/metrics"
)

var metricPattern = regexp.MustCompile(`masspay_[a-z_]+`)

// The board is one that Grafana reads, and every expression on it and in the alerts is about
// figures that there are.
func TestBoard(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../samples/grafana/masspay.json")
	require.NoError(t, err)
	plugins.RegisterDefaultPlugins()
	var board dashboard.Dashboard //nolint:staticcheck // the form that every Grafana imports
	var wrong cog.BuildErrors     // an empty list where nothing is, and never nil
	if err := board.UnmarshalJSONStrict(raw); !errors.As(err, &wrong) || len(wrong) > 0 {
		t.Fatal(err)
	}
	require.Equal(t, "masspay", *board.Title)
	old := strings.Replace(string(raw), `"title": "masspay"`, `"title": "masspay", "rows": []`, 1)
	require.ErrorAs(t, new(dashboard.Dashboard).UnmarshalJSONStrict([]byte(old)), &wrong) //nolint:staticcheck // the same
	require.NotEmpty(t, wrong, "an old form is not taken")
	var loose struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &loose))
	require.Len(t, loose.Panels, 18)
	var rules strings.Builder
	rules.WriteString("groups:\n- name: board\n  rules:\n")
	var expressions []string
	for _, p := range loose.Panels {
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			expressions = append(expressions, target.Expr)
			text, err := json.Marshal(target.Expr)
			require.NoError(t, err)
			rules.WriteString("  - record: board:expression\n    expr: " + string(text) + "\n")
		}
	}
	alerts, err := os.ReadFile("../samples/prometheus/masspay.rules.yml")
	require.NoError(t, err)
	expressions = append(expressions, string(alerts))
	s, _ := open(t)
	there := map[string]bool{}
	o := options
	o.Process = metrics.NewProcess()
	o.Process.Asked("/", 200)
	families, err := metrics.New(s, o).Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, end := range []string{"", "_bucket", "_sum", "_count"} {
			there[f.GetName()+end] = true
		}
	}
	// Of an empty store some are left out.
	for _, name := range []string{"masspay_last_success_timestamp_seconds", "masspay_last_exit_code", "masspay_oldest_open_batch_timestamp_seconds", "masspay_runs_total", "masspay_last_backup_timestamp_seconds", "masspay_clarification_deadline_timestamp_seconds"} {
		there[name] = true
	}
	for _, e := range expressions {
		for _, name := range metricPattern.FindAllString(e, -1) {
			require.True(t, there[name], "%s is on the board or in an alert, and nowhere else", name)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("NO PROMTOOL: the board's expressions are not tried; install prometheus")
	}
	file := filepath.Join(t.TempDir(), "board.yml")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(rules.String(), "$__interval", "5m")), 0o600))
	out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", "--lint=none", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
