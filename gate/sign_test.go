package gate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
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
