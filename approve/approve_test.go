package approve

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"masspay/payout"
)

var now = time.Date(2026, 11, 26, 15, 0, 0, 0, time.UTC)

func newKey(t testing.TB) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	return signer, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

func content() payout.Content {
	return payout.Content{File: [32]byte{1}, Sent: [32]byte{2}, Rows: 50, Totals: []payout.Amount{{Minor: 10365375, Currency: "KGS"}}}
}

func statement(role payout.Role, person string) *payout.Statement {
	return &payout.Statement{Role: role, Content: content(), Person: person, At: now.Add(-time.Hour)}
}

func sign(t testing.TB, s *payout.Statement, with ssh.Signer) Approval {
	t.Helper()
	sig, err := Sign(s, Key{with})
	require.NoError(t, err)
	return Approval{"payouts.csv." + s.Person + ".approval", s.Text(), sig}
}

func list(t testing.TB, lines ...string) Signers {
	t.Helper()
	l, err := ParseSigners([]byte(strings.Join(lines, "\n")))
	require.NoError(t, err)
	return l
}

// Two persons release a file; each way to be one person twice, or to release another file,
// leaves it held.
func TestJudge(t *testing.T) {
	t.Parallel()
	bob, bobKey := newKey(t)
	bob2, bobKey2 := newKey(t)
	cfo, cfoKey := newKey(t)
	eve, eveKey := newKey(t)
	late, lateKey := newKey(t)
	payer, payerKey := newKey(t)
	stranger, _ := newKey(t)
	l := list(t, "# who may release", "bob "+bobKey, "bob "+bobKey2, "cfo "+cfoKey+" the phone", `eve namespaces="masspay-prepare" `+eveKey,
		`late valid-after="20261101Z",valid-before="20261120Z" `+lateKey, `payroll namespaces="masspay-prepare,masspay-release" `+payerKey)
	two := Policy{MaxAge: 72 * time.Hour, Rules: []Rule{
		{UpTo: payout.Amount{Minor: 100_000, Currency: "KGS"}, Signers: 1}, {UpTo: payout.Amount{Minor: 50_000_000, Currency: "KGS"}, Signers: 2},
	}}
	release := func(person string, with ssh.Signer) Approval {
		return sign(t, statement(payout.Releases, person), with)
	}
	prepare := func(person string, with ssh.Signer) Approval {
		return sign(t, statement(payout.Prepares, person), with)
	}
	changed := func(change func(*payout.Statement)) Approval {
		s := statement(payout.Releases, "cfo")
		change(s)
		return sign(t, s, cfo)
	}
	ofBob := release("bob", bob)
	with := func(change func(*Policy)) Policy { p := two; change(&p); return p }
	for _, tt := range []struct {
		name      string
		policy    Policy
		approvals []Approval
		missing   string
		ignored   string
	}{
		{"released", two, []Approval{ofBob, release("cfo", cfo)}, "", ""},
		{"by one", two, []Approval{ofBob}, "1 of 2 approvals (bob)", ""},
		{"by nobody", two, nil, "0 of 2 approvals", ""},
		{"by one, twice", two, []Approval{ofBob, ofBob}, "1 of 2 approvals (bob)", ""},
		{"by one with two keys", two, []Approval{ofBob, release("bob", bob2)}, "1 of 2 approvals (bob)", ""},
		{"by a stranger", two, []Approval{ofBob, release("cfo", stranger)}, "1 of 2 approvals (bob)", "its key is not one of cfo"},
		{"by somebody not listed", two, []Approval{ofBob, release("zoe", stranger)}, "1 of 2", "its key is not one of zoe"},
		{"bob as the cfo", two, []Approval{ofBob, release("cfo", bob2)}, "1 of 2", "its key is not one of cfo"},
		{"by who may only prepare", two, []Approval{ofBob, release("eve", eve)}, "1 of 2", "eve may not release"},
		{"prepared, not released", two, []Approval{ofBob, prepare("eve", eve)}, "1 of 2", ""},
		{"by who prepared it", two, []Approval{ofBob, release("payroll", payer), prepare("payroll", payer)}, "1 of 2 approvals (bob)", ""},
		{"too late", two, []Approval{ofBob, release("late", late)}, "1 of 2", "the key of late does not count since 2026-11-20T00:00:00Z"},
		{"another file", two, []Approval{ofBob, changed(func(s *payout.Statement) { s.File[31]++ })}, "1 of 2", "it is about another file"},
		{"other rows", two, []Approval{ofBob, changed(func(s *payout.Statement) { s.Sent[0]++ })}, "1 of 2", "it is about another file, or other rows"},
		{"rows left out", two, []Approval{ofBob, changed(func(s *payout.Statement) { s.LeftOut = 1 })}, "1 of 2", "it is about another file, or other rows"},
		{"another total", two, []Approval{ofBob, changed(func(s *payout.Statement) { s.Totals = []payout.Amount{{Minor: 1, Currency: "KGS"}} })}, "1 of 2", "it is about another file"},
		{"old", two, []Approval{ofBob, changed(func(s *payout.Statement) { s.At = now.Add(-73 * time.Hour) })}, "1 of 2", "older than 72h0m0s (approval.max_age)"},
		{"of tomorrow", two, []Approval{ofBob, changed(func(s *payout.Statement) { s.At = now.Add(24 * time.Hour) })}, "1 of 2", "which is not yet"},
		{"one of", with(func(p *Policy) {
			p.Rules = []Rule{{UpTo: payout.Amount{Minor: 50_000_000, Currency: "KGS"}, Signers: 2, OneOf: []string{"zoe"}}}
		}), []Approval{ofBob, release("cfo", cfo)}, "2 approvals (bob, cfo), and none of zoe", ""},
		{"one of, there", with(func(p *Policy) {
			p.Rules = []Rule{{UpTo: payout.Amount{Minor: 50_000_000, Currency: "KGS"}, Signers: 2, OneOf: []string{"zoe", "cfo"}}}
		}), []Approval{ofBob, release("cfo", cfo)}, "", ""},
		{"over every rule", with(func(p *Policy) { p.Rules = p.Rules[:1] }), []Approval{ofBob, release("cfo", cfo)}, "no rule says who may release 103,653.75 KGS", ""},
		{"a currency without a rule", with(func(p *Policy) { p.Rules[0].UpTo.Currency = "KGS" }), []Approval{ofBob, release("cfo", cfo)}, "", ""},
		{"not prepared", with(func(p *Policy) { p.Prepared = true }), []Approval{ofBob, release("cfo", cfo)}, "and no one says that they prepared it", ""},
		{"prepared", with(func(p *Policy) { p.Prepared = true }), []Approval{ofBob, release("cfo", cfo), prepare("eve", eve)}, "", ""},
	} {
		j := tt.policy.Judge(l, tt.approvals, content(), now)
		if tt.missing == "" {
			require.Empty(t, j.Missing, tt.name)
			continue
		}
		require.Contains(t, j.Missing, tt.missing, tt.name)
		if tt.ignored == "" {
			require.Empty(t, j.Ignored, tt.name)
		} else {
			require.Len(t, j.Ignored, 1, tt.name)
			require.Contains(t, j.Ignored[0], tt.ignored, tt.name)
		}
	}
}

// Any bit of a statement or a signature that is not as it was signed makes it none.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	bob, key := newKey(t)
	l := list(t, "bob "+key)
	a := sign(t, statement(payout.Releases, "bob"), bob)
	_, err := l.Verify(a, now)
	require.NoError(t, err)
	for i := range a.Statement {
		for bit := range 8 {
			b := a
			b.Statement = bytes.Clone(a.Statement)
			b.Statement[i] ^= 1 << bit
			_, err := l.Verify(b, now)
			require.Error(t, err, "byte %d, bit %d of the statement", i, bit)
		}
	}
	for i := range a.Signature {
		for bit := range 8 {
			b := a
			b.Signature = bytes.Clone(a.Signature)
			b.Signature[i] ^= 1 << bit
			v, err := l.Verify(b, now)
			if err == nil { // a line end of its armor, say
				require.Equal(t, a.Statement, v.Text())
				sig, _ := bytesOfArmor(b.Signature)
				was, _ := bytesOfArmor(a.Signature)
				require.Equal(t, was, sig, "byte %d, bit %d of the signature", i, bit)
			}
		}
	}
	for _, namespace := range []payout.Role{"git", "file", "", payout.Prepares} {
		s := statement(payout.Releases, "bob")
		text := s.Text()
		s.Role = namespace
		sig, err := signText(text, bob, namespace.Namespace())
		require.NoError(t, err)
		_, err = l.Verify(Approval{"x", text, sig}, now)
		require.Error(t, err, namespace)
	}
}

func TestListsThatAreRefused(t *testing.T) {
	t.Parallel()
	_, key := newKey(t)
	_, other := newKey(t)
	_, err := ParseSigners(nil)
	require.Error(t, err)
	for name, text := range map[string]string{
		"a pattern": "*@example.com " + key, "a list": "bob,cfo " + key, "a negation": "!bob " + key, "quotes": `"bob" ` + key, "no name": key,
		"an authority": "bob cert-authority " + key, "an unknown option": `bob no-touch-required ` + key, "no key": "bob", "half a key": "bob " + key[:40],
		"a key twice": "bob " + key + "\ncfo " + key, "the same line twice": "bob " + key + "\nbob " + key, "an empty namespace": `bob namespaces="" ` + key,
		"a pattern of namespaces": `bob namespaces="masspay-*" ` + key, "namespaces without quotes": `bob namespaces=masspay-release ` + key,
		"a day that is none": `bob valid-after="tomorrow" ` + key, "never": `bob valid-after="20261127Z",valid-before="20261126Z" ` + key,
		"an option twice": `bob namespaces="file",namespaces="masspay-release" ` + key, "DSA": "bob ssh-dss AAAAB3NzaC1kc3MAAACBAP", "a good one and a bad one": "cfo " + other + "\nbob@* " + key,
	} {
		_, err := ParseSigners([]byte(text))
		require.Error(t, err, name)
	}
}

// What this package accepts, ssh-keygen accepts: keys of every kind that it makes, and
// lists of every form.
func TestAgainstSSHKeygen(t *testing.T) {
	t.Parallel()
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no ssh-keygen")
		}
		t.Skip("NOT TESTED: there is no ssh-keygen (Debian: apt install openssh-client)")
	}
	dir := t.TempDir()
	run := func(stdin []byte, args ...string) ([]byte, error) {
		c := exec.CommandContext(t.Context(), keygen, args...)
		c.Stdin = bytes.NewReader(stdin)
		return c.CombinedOutput()
	}
	var keys []string
	for _, kind := range [][]string{{"ed25519"}, {"ecdsa", "-b", "256"}, {"ecdsa", "-b", "384"}, {"ecdsa", "-b", "521"}, {"rsa", "-b", "3072"}} {
		path := filepath.Join(dir, strings.Join(kind, ""))
		out, err := run(nil, append([]string{"-q", "-N", "", "-C", "", "-f", path, "-t"}, kind...)...)
		require.NoError(t, err, string(out))
		keys = append(keys, path)
	}
	s := statement(payout.Releases, "bob@example.com")
	s.At = time.Now().Add(-time.Minute)
	text := filepath.Join(dir, "statement")
	require.NoError(t, os.WriteFile(text, s.Text(), 0o600))
	accepted := 0
	for _, path := range keys {
		public, err := os.ReadFile(path + ".pub")
		require.NoError(t, err)
		key := strings.TrimSpace(string(public))
		_ = os.Remove(text + ".sig")
		out, err := run(nil, "-Y", "sign", "-f", path, "-n", s.Role.Namespace(), text)
		require.NoError(t, err, string(out))
		sig, err := os.ReadFile(text + ".sig")
		require.NoError(t, err)

		private, err := os.ReadFile(path)
		require.NoError(t, err)
		signer, err := ssh.ParsePrivateKey(private)
		require.NoError(t, err)
		ours, err := Sign(s, Key{signer})
		require.NoError(t, err)
		for i, line := range []string{
			"bob@example.com %", `bob@example.com namespaces="masspay-release" %`, `bob@example.com namespaces="masspay-prepare,masspay-release" % with a comment`,
			`bob@example.com namespaces="masspay-prepare" %`, `bob@example.com valid-after="20200101Z" %`, `bob@example.com valid-before="20200101Z" %`,
			`bob@example.com valid-after="20200101",valid-before="209901010000" %`, `bob@example.com valid-after="20990101Z" %`, "*@example.com %", "bob@example.com,eve %",
			`bob@example.com cert-authority %`, `bob@example.com namespaces="a",namespaces="masspay-release" %`, "  bob@example.com   %", "bob@example.com\t%", "# bob@example.com %",
			`bob@example.com NAMESPACES="masspay-release" %`, `bob@example.com valid-after="2020" %`, `bob@example.com namespaces=masspay-release %`, `bob@example.com bogus %`, "eve %",
			`"bob@example.com" %`, `bob@example.com valid-after="20200101Z" valid-before="20990101Z" %`, "bob@example.com x%",
		} {
			file := strings.ReplaceAll(line, "%", key) + "\n"
			allowed := filepath.Join(dir, "allowed")
			require.NoError(t, os.WriteFile(allowed, []byte(file), 0o600))
			for whose, signature := range map[string][]byte{"ssh-keygen's": sig, "ours": ours} {
				require.NoError(t, os.WriteFile(text+".check", signature, 0o600))
				out, theirs := run(s.Text(), "-Y", "verify", "-f", allowed, "-I", "bob@example.com", "-n", s.Role.Namespace(), "-s", text+".check")
				l, err := ParseSigners([]byte(file))
				if err == nil {
					_, err = l.Verify(Approval{"x", s.Text(), signature}, time.Now())
				}
				if err == nil {
					accepted++
					require.NoError(t, theirs, "%s, line %d: we accept it, ssh-keygen says: %s", whose, i, out)
				}
				if i < 3 {
					require.NoError(t, err, "%s, line %d", whose, i)
				}
			}
		}
	}
	require.GreaterOrEqual(t, accepted, len(keys)*2*5)
}

func bytesOfArmor(armored []byte) ([]byte, error) {
	sig, err := sshsig.Unarmor(armored)
	if err != nil {
		return nil, err
	}
	return sig.Marshal(), nil
}

func signText(text []byte, with ssh.Signer, namespace string) ([]byte, error) {
	sig, err := sshsig.Sign(bytes.NewReader(text), with, sshsig.HashSHA512, namespace)
	if err != nil {
		return nil, err
	}
	return sshsig.Armor(sig), nil
}
