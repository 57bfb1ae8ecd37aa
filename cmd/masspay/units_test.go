package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A night is told to people unless it ended with 0.
func TestNotices(t *testing.T) {
	t.Parallel()
	for unit, tells := range map[string]map[string]string{
		"masspay-notice@": {"0": "", "": "", "3": "some rows were not paid", "4": "or were not sent", "13": "a file is held"},
		"masspay-failed@": {
			"1": "has failed, something unexpected", "": "has failed, something unexpected", "10": "has failed, the file has problems, and nothing of it was sent",
			"11": "has failed, the store is busy", "12": "has failed, there was no file, or", "13": "has failed, a file is held", "130": "has failed, it was stopped",
		},
	} {
		text, err := os.ReadFile("../../packaging/systemd/" + unit + ".service")
		require.NoError(t, err)
		_, command, found := strings.Cut(string(text), "ExecStart=/bin/sh -c '")
		require.True(t, found)
		command, _, _ = strings.Cut(command, "'\n")
		command = strings.NewReplacer("$$", "$", "%i", "masspay-night", "/usr/bin/logger", "echo", "/etc/masspay/notify", "echo").Replace(command)
		for status, says := range tells {
			sh := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(command, "[ ! -x echo ]", "false", 1))
			sh.Env = []string{"PATH=" + os.Getenv("PATH"), "MONITOR_EXIT_STATUS=" + status}
			out, err := sh.CombinedOutput()
			require.NoError(t, err, "%s", out)
			if says == "" {
				require.Empty(t, string(out), "%s: %s", unit, status)
				continue
			}
			require.Equal(t, 2, strings.Count(string(out), says), "%s: %s: into the journal, and to people:\n%s", unit, status, out)
			require.Contains(t, string(out), "masspay-night "+status+" ", "what people are told by")
		}
	}
}

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
