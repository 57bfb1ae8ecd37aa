package gate

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"hash"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"masspay/gate/transport"
	"masspay/payout"
)

// vector is a signature that the platform's SDKs, its documentation, or code
// that talks to it has published.
type vector struct {
	ID        string          `json:"id"`
	Key       *string         `json:"key"`
	Input     json.RawMessage `json:"input"`
	String    *string         `json:"string"`
	Signature *string         `json:"signature"`
}

func vectors(t testing.TB) []vector {
	b, err := os.ReadFile("testdata/signature_vectors.json")
	require.NoError(t, err)
	var vs []vector
	require.NoError(t, json.Unmarshal(b, &vs))
	require.Len(t, vs, 36)
	return vs
}

func TestVectors(t *testing.T) {
	t.Parallel()
	signed := 0
	for _, v := range vectors(t) {
		t.Run(v.ID, func(t *testing.T) {
			var canonical string
			if string(v.Input) != "null" {
				got, err := Canonical(v.Input)
				require.NoError(t, err)
				canonical = got
			} else {
				canonical = *v.String // published as a string alone
			}
			if v.String != nil {
				require.Equal(t, *v.String, canonical)
			}
			if v.Signature == nil {
				return
			}
			require.Equal(t, *v.Signature, NewSecret(*v.Key).Sign(canonical))
			signed++
		})
	}
	require.Equal(t, 33, signed)
}

func TestCanonicalRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing":              ``,
		"no object":            `[1]`,
		"two objects":          `{} {}`,
		"cut off":              `{"a":`,
		"doubled name":         `{"a":1,"a":2}`,
		"doubled name, escape": `{"a":1,"\u0061":2}`,
		"doubled deep":         `{"x":[{"a":1,"a":2}]}`,
		"not UTF-8":            "{\"a\":\"\xff\"}",
		"too deep":             strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
		"too deep array":       `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	} {
		_, err := Canonical([]byte(body))
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestCanonicalKeepsNumbersAsWritten(t *testing.T) {
	t.Parallel()
	got, err := Canonical([]byte(`{"id":1234567890123456789,"f":1.10,"e":1e3}`))
	require.NoError(t, err)
	require.Equal(t, "e:1e3;f:1.10;id:1234567890123456789", got)
}

func TestNaturalOrder(t *testing.T) {
	t.Parallel()
	got, err := Canonical([]byte(`{"a10":1,"a2":2,"a":{"10":"x","9":"y"},"b:c":3}`))
	require.NoError(t, err)
	require.Equal(t, "a2:2;a10:1;a:9:y;a:10:x;b::c:3", got)
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	s := NewSecret("hunter2")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", s, "struct", struct{ S Secret }{s})
	text, err := json.Marshal(map[string]any{"s": s})
	require.NoError(t, err)
	all := fmt.Sprint(s, fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), log.String(), string(text), fmt.Sprintf("%#v", struct{ S Secret }{s}))
	require.NotContains(t, all, "hunter2")
}

// counted is a secret that counts the HMACs that are computed with it.
func counted(key string, n *int) Secret {
	return Secret{&sync.Pool{New: func() any { return countedHash{hmac.New(sha512.New, []byte(key)), n} }}}
}

type countedHash struct {
	hash.Hash
	n *int
}

func (h countedHash) Reset() { *h.n++; h.Hash.Reset() }

// A signature of another length than 88 characters, as the value that JSON means and
// not as it is written, costs neither an HMAC nor a canonical string. Not side by side
// with others, to see what is allocated.
func TestSignatureLength(t *testing.T) {
	var good map[string]any
	for i := 0; good == nil; i++ { // one that PHP writes longer than it is
		b := body(map[string]any{"payment.id": fmt.Sprint("p", i)})
		var signed map[string]any
		require.NoError(t, json.Unmarshal(signedWith("secret", b), &signed))
		if b["signature"] = signed["signature"]; strings.Count(b["signature"].(string), "/") >= 2 {
			good = b
		}
	}
	signature := good["signature"].(string)
	require.Len(t, signature, 88)
	as := func(written string) string {
		good["signature"] = "HERE"
		return strings.Replace(string(mustJSON(good)), "HERE", written, 1)
	}
	slashes := strings.ReplaceAll(signature, "/", `\/`)
	for _, tt := range []struct {
		name, written string
		want          error
		macs          bool // HMACs are computed
	}{
		{"as it is", signature, nil, true},
		{"with slashes as PHP writes them", slashes, nil, true},
		{"with slashes by number", strings.ReplaceAll(signature, "/", `\u002f`), nil, true},
		{"another one", strings.Repeat("A", 86) + "==", ErrSignature, true},
		{"none", "", ErrSignature, false},
		{"one character", "A", ErrSignature, false},
		{"one too few", signature[:87], ErrSignature, false},
		{"one too many", signature + "=", ErrSignature, false},
		{"a blank behind", signature + " ", ErrSignature, false},
		{"without padding", strings.TrimRight(signature, "="), ErrSignature, false},
		{"88 only as it is written", strings.Replace(signature[:87], "/", `\/`, 1), ErrSignature, false},
		{"in hexadecimal", strings.Repeat("0", 128), ErrSignature, false},
		{"60,000", strings.Repeat("A", 60_000), ErrSignature, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := parseLimited(as(tt.written), maxLeaves)
			require.NoError(t, err)
			macs := 0
			keys := []Secret{counted("another", &macs), counted("secret", &macs)}
			require.Equal(t, tt.want, d.verify(keys))
			require.Equal(t, tt.macs, macs > 0)
			if !tt.macs {
				require.Zero(t, testing.AllocsPerRun(10, func() { _ = d.verify(keys) }), "something was made of the body")
			}
		})
	}
}

// countedKeys are the keys of every project, counted.
type countedKeys struct {
	keys
	n *int
}

func (k countedKeys) Accepted(uint32) []Secret { return []Secret{counted("secret", k.n)} }

// A status answer's signature is as long.
func TestSignatureLengthOfAStatusAnswer(t *testing.T) {
	t.Parallel()
	macs := 0
	answer := func(body []byte) error {
		_, err := parseStatus(transport.Response{Status: 200, ContentType: "application/json", Body: string(body)}, payout.Key{ProjectID: 1234, PaymentID: "p1"}, countedKeys{n: &macs})
		return err
	}
	good := callback(nil)
	require.ErrorIs(t, answer(bytes.Replace(good, []byte(`=="`), []byte(`="`), 1)), ErrSignature)
	require.Zero(t, macs)
	require.NoError(t, answer(good))
	require.NotZero(t, macs)
}

// A canonical string that several orders make costs one HMAC with each key.
func TestCanonicalIsTriedOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]map[string]any{
		"alike":     nil,
		"different": {"n2": 1, "n10": 2, "n": map[string]any{"z": 1}, "n-1": 3, "a:b": 4, "a": map[string]any{"c": 5}},
	} {
		b := body(change)
		b["signature"] = strings.Repeat("A", 86) + "=="
		d, err := parseDocument(string(mustJSON(b)))
		require.NoError(t, err, name)
		strings := map[string]bool{}
		for _, order := range orders {
			strings[d.canonical(order)] = true
		}
		require.Equal(t, change == nil, len(strings) == 1, name)
		macs := 0
		require.ErrorIs(t, d.verify([]Secret{counted("secret", &macs), counted("old-secret", &macs), {}}), ErrSignature, name)
		require.Equal(t, 2*len(strings), macs, name)
	}
}

// Whatever the names and the values are, a signature over the lines in any of the four
// orders is accepted, by whichever key, and no other one.
func TestVerifyAcceptsFourOrders(t *testing.T) {
	t.Parallel()
	line := func(l leaf) string { return l.path + ":" + l.value }
	natural := func(a, b leaf) int { return compareNatural(a.path, b.path) }
	name := rapid.StringOfN(rapid.RuneFrom([]rune("a:01-")), 0, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		var b any = rapid.MapOfN(name, rapid.OneOf(name.AsAny(), rapid.MapOf(name, name).AsAny()), 0, 40).Draw(t, "body")
		d, err := parseDocument(string(mustJSON(map[string]any{"x": b, "": b})))
		require.NoError(t, err)
		for _, order := range []func(a, b leaf) int{
			natural,
			func(a, b leaf) int { return cmp.Compare(a.path, b.path) },
			func(a, b leaf) int { return cmp.Compare(line(a), line(b)) },
			func(a, b leaf) int { return slices.Compare(a.segments, b.segments) },
		} {
			sorted := slices.Clone(d.leaves)
			slices.SortStableFunc(sorted, order)
			var lines []string
			for _, l := range sorted {
				lines = append(lines, line(l))
			}
			for _, key := range []string{"secret", "old-secret"} {
				d.signature = NewSecret(key).Sign(strings.Join(lines, ";"))
				require.NoError(t, d.verify(testSecrets))
			}
			d.signature = NewSecret("secret").Sign(strings.Join(lines, ";") + ";")
			require.ErrorIs(t, d.verify(testSecrets), ErrSignature)
		}
	})
}

func FuzzCanonical(f *testing.F) {
	b, err := os.ReadFile("testdata/signature_vectors.json")
	require.NoError(f, err)
	var vs []vector
	require.NoError(f, json.Unmarshal(b, &vs))
	for _, v := range vs {
		f.Add([]byte(v.Input))
	}
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := Canonical(body)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again, err := Canonical(body)
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

func BenchmarkCanonical(b *testing.B) {
	d := benchDraft(b)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = d.AppendCanonical(buf[:0])
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkSign(b *testing.B) {
	d := benchDraft(b)
	key := NewSecret("secret")
	b.ReportAllocs()
	for b.Loop() {
		d.Signed(key)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// Natural order is that of the runs of digits, as numbers, and of the bytes
// between them, whatever two paths have in common.
func FuzzNatural(f *testing.F) {
	for _, p := range [][2]string{{"a:10", "a:9"}, {"a:010", "a:10"}, {"a10b", "a10c"}, {"a1", "a"}, {"1", "a"}, {"a:1:2", "a:1:10"}, {"a0", "a00"}, {"a12", "a102"}} {
		f.Add(p[0], p[1])
	}
	run := regexp.MustCompile(`[0-9]+|[^0-9]`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a + b) {
			return
		}
		want := slices.CompareFunc(run.FindAllString(a, -1), run.FindAllString(b, -1), func(x, y string) int {
			if digits(x) > 0 && digits(y) > 0 {
				x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
				if c := cmp.Compare(len(x), len(y)); c != 0 {
					return c
				}
			}
			return strings.Compare(x, y)
		})
		require.Equal(t, want, cmp.Compare(compareNatural(a, b), 0))
	})
}

func BenchmarkParseCallback(b *testing.B) {
	body := callback(map[string]any{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCallback(body, keys{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "callbacks/s")
}

// What it costs to find out that a callback is forged, 64 KiB of it.
func BenchmarkForged(b *testing.B) {
	for _, tt := range []struct {
		name, signature string
		leaves          int
	}{
		{"signature of 88", strings.Repeat("A", 86) + "==", 490},
		{"signature of 1", "A", 490},
		{"too many leaves", strings.Repeat("A", 86) + "==", 6_000},
	} {
		forged := []byte(`{"project_id":1234,"signature":"` + tt.signature + `"`)
		for i, size := 0, 63<<10/tt.leaves; i < tt.leaves; i++ {
			name := fmt.Sprint(i*7919%tt.leaves, []string{":", "-", "", "x0"}[i%4]) // unlike in each order
			forged = fmt.Appendf(forged, `,"%s":"%s"`, name, strings.Repeat("v", max(0, size-len(name)-6)))
		}
		forged = append(forged, '}')
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseCallback(forged, keys{}); err == nil {
					b.Fatal("taken")
				}
			}
		})
	}
}
