package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"masspay/approve"
	"masspay/batch/payfile"

	"github.com/stretchr/testify/require"
)

// The samples that are not CSV files: each says what the program understands.
func TestSampleConfiguration(t *testing.T) {
	t.Parallel()
	c, err := loadConfig("../../samples/masspay.yaml", nil)
	require.NoError(t, err)
	text, err := os.ReadFile("../../samples/masspay.yaml")
	require.NoError(t, err)
	for _, name := range envNames(configType, "") {
		keys := strings.Split(strings.ToLower(strings.TrimPrefix(name, "_")), "_")
		require.Contains(t, string(text), keys[0]+":", "every part")
	}
	starter := defaultConfig()
	require.Equal(t, starter.Gate.Timeout, c.Gate.Timeout, "the sample shows the defaults")
	require.Equal(t, starter.Gate.QuietPeriod, c.Gate.QuietPeriod)
	require.Equal(t, starter.Gate.MaxRefusals, c.Gate.MaxRefusals)
}

func TestSampleCrontabAndUnits(t *testing.T) {
	t.Parallel()
	command := regexp.MustCompile(`(?:^|[ /])masspay ((?:run|serve|work|init|inbox|reconcile|backup|check|status)\b[^;|&'\n]*)`)
	units, err := filepath.Glob("../../packaging/systemd/*[^@].service")
	require.NoError(t, err)
	require.Len(t, units, 7)
	for _, name := range append(units, "../../samples/crontab") {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		found := 0
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "Description=") || strings.HasPrefix(line, "Documentation=") {
				continue
			}
			for _, m := range command.FindAllStringSubmatch(line, -1) {
				var words []string
				for _, w := range strings.Fields(m[1]) {
					if !strings.Contains(w, ">>") {
						words = append(words, w)
					}
				}
				c, rest, err := (&app{}).root().Find(words)
				require.NoError(t, err, line)
				require.NoError(t, c.ParseFlags(rest), line)
				require.NoError(t, c.ValidateArgs(c.Flags().Args()), line)
				found++
			}
		}
		require.NotZero(t, found, name)
	}
}

// masspay signature reproduces every published vector, string and signature.
func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../gate/testdata/signature_vectors.json")
	require.NoError(t, err)
	var vectors []struct {
		ID        string
		Key       *string
		Input     json.RawMessage
		String    *string
		Signature *string
	}
	require.NoError(t, json.Unmarshal(b, &vectors))
	folder := t.TempDir()
	bodies := 0
	for _, v := range vectors {
		if string(v.Input) == "null" {
			continue // published as a string alone, tested in gate
		}
		bodies++
		body, key := filepath.Join(folder, "body.json"), filepath.Join(folder, "key")
		require.NoError(t, os.WriteFile(body, v.Input, 0o600))
		args, want := []string{"signature", body}, *v.String+"\n"
		if v.Signature != nil {
			require.NoError(t, os.WriteFile(key, []byte(*v.Key+"\n"), 0o600))
			args, want = append(args, "--key-file", key), want+*v.Signature+"\n"
		}
		var out, said bytes.Buffer
		require.Equal(t, exitDone, run(t.Context(), args, world{stdout: &out, stderr: &said}), "%s: %s", v.ID, said.String())
		require.Equal(t, want, out.String(), v.ID)
	}
	require.Equal(t, 35, bodies)
}

// The sample of an approval is one of the sample file, by ssh-keygen.
func TestSampleApproval(t *testing.T) {
	t.Parallel()
	read := func(name string) []byte {
		text, err := os.ReadFile("../../samples/approvals/" + name)
		require.NoError(t, err)
		return text
	}
	list, err := approve.ParseSigners(read("signers"))
	require.NoError(t, err)
	name := "kyrgyzstan.csv.bob@example.com" + approvalSuffix
	v, err := list.Verify(approve.Approval{Name: name, Statement: read(name), Signature: read(name + signatureSuffix)}, time.Now())
	require.NoError(t, err)
	in, err := payfile.Open("../../samples/kyrgyzstan.csv", nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, in.Close()) }()
	k, err := (&payfile.Checker{Store: payfile.NothingKnown(), Projects: func(uint32) bool { return true }, Content: true}).Check(t.Context(), in)
	require.NoError(t, err)
	require.True(t, v.About(k.Content), "what is sent of a file has changed: approvals of before do not count any more")
	require.Equal(t, "bob@example.com", v.Person)
}
