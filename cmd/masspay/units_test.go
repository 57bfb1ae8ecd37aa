package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The units of the package are what systemd understands, and none of them may do more than another.
func TestUnits(t *testing.T) {
	t.Parallel()
	const folder = "../../packaging/systemd"
	units, err := filepath.Glob(folder + "/*")
	require.NoError(t, err)
	require.Len(t, units, 13)
	copies, hardening := t.TempDir(), ""
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		require.NoError(t, err)
		here := strings.ReplaceAll(string(text), "/usr/bin/masspay", os.Args[0]) // whose there is none
		require.NoError(t, os.WriteFile(filepath.Join(copies, filepath.Base(unit)), []byte(here), 0o600))
		if filepath.Ext(unit) == ".timer" {
			continue
		}
		_, may, found := strings.Cut(string(text), "# What it may not do.")
		require.True(t, found, unit)
		may, _, _ = strings.Cut(may, "\n\n[Install]")
		if may = strings.TrimSpace(may); hardening == "" {
			hardening = may
		}
		require.Equal(t, hardening, may, "%s may do what others may not, or less: they are alike", unit)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-analyze is missing: the package systemd has it")
		}
		t.Skip("NOT TESTED, as systemd-analyze is missing: whether systemd understands the units, and how much they may do")
	}
	for _, unit := range units {
		unit = filepath.Join(copies, strings.Replace(filepath.Base(unit), "@.", "@x.", 1))
		out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NotContains(t, string(out), copies, "it has something to say of one of these")
		if filepath.Ext(unit) == ".timer" || strings.Contains(unit, "@") {
			continue
		}
		const exposure = "15" // 1.5 of 10
		out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", "--threshold="+exposure, unit).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}
