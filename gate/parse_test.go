package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"masspay/gate/transport"
	"masspay/payout"
)

// tokens flattens a body with encoding/json's tokens: slower, and by others.
type tokens struct{ document }

func parseTokens(body []byte) (*document, error) {
	if !utf8.Valid(body) {
		return nil, ErrMalformed
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, ErrMalformed
	}
	d := &tokens{}
	if err := d.object(dec, nil); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrMalformed
	}
	return &d.document, nil
}

func (d *tokens) object(dec *json.Decoder, at []string) error {
	if len(at) >= maxDepth {
		return fmt.Errorf("%w: nested too deep", ErrMalformed)
	}
	seen := make(map[string]bool, 8)
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		name, _ := tok.(string)
		if seen[name] {
			return fmt.Errorf("%w: duplicate name %q", ErrMalformed, name)
		}
		seen[name] = true
		if err := d.value(dec, append(at[:len(at):len(at)], name)); err != nil {
			return err
		}
	}
	return closing(dec)
}

func (d *tokens) array(dec *json.Decoder, at []string) error {
	if len(at) >= maxDepth {
		return fmt.Errorf("%w: nested too deep", ErrMalformed)
	}
	for i := 0; dec.More(); i++ {
		if err := d.value(dec, append(at[:len(at):len(at)], strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return closing(dec)
}

func closing(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

func (d *tokens) value(dec *json.Decoder, at []string) error {
	tok, err := dec.Token()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var text string
	switch v := tok.(type) {
	case json.Delim:
		if v == '{' {
			return d.object(dec, at)
		}
		return d.array(dec, at)
	case string:
		text = v
	case json.Number:
		text = v.String()
	case bool:
		text = "0"
		if v {
			text = "1"
		}
	}
	if !d.add(at, text) {
		return fmt.Errorf("%w: too many names", ErrMalformed)
	}
	return nil
}

// A small body whose names take hundreds of times its size is refused before they do.
// Not side by side with others, to see whose memory it is.
func TestTooManyNames(t *testing.T) {
	for name, body := range map[string]string{
		"deep":        `{"a":` + strings.Repeat("[", 30) + strings.Repeat("1,", 20_000) + "1" + strings.Repeat("]", 30) + "}",
		"a long name": `{"` + strings.Repeat("x", 20_000) + `":[` + strings.Repeat("1,", 20_000) + "1]}",
		"empty names": strings.Repeat(`{"":`, 31) + "[" + strings.Repeat("1,", 20_000) + "1]" + strings.Repeat("}", 31),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parseDocument(body)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, ErrMalformed, name)
		require.Contains(t, err.Error(), "too many names", name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20), name)
	}
	_, err := parseDocument(`{"a":[` + strings.Repeat("1,", 5_000) + "1]}")
	require.NoError(t, err)
}

// A callback has at most 500 leaves, and what is behind the 501st is not looked at.
// Not side by side with others, to see whose memory it is.
func TestTooManyLeaves(t *testing.T) {
	// leaves is a signed callback with so many, the signature not counted.
	leaves := func(n int) []byte {
		b := body(nil)
		d, err := parseDocument(string(mustJSON(b)))
		require.NoError(t, err)
		b["many"] = make([]int, n-len(d.leaves))
		b["x"] = []any{map[string]any{"frame_mode": 1}, map[string]any{}} // none
		return signedWith("secret", b)
	}
	_, err := ParseCallback(leaves(500), keys{})
	require.NoError(t, err)
	_, err = ParseCallback(leaves(501), keys{})
	require.ErrorIs(t, err, ErrMalformed)
	require.ErrorContains(t, err, "too many values")

	forged := `{"project_id":1234,"a":[` + strings.Repeat("1,", 30_000) + "and this is no JSON"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = ParseCallback([]byte(forged), keys{})
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrMalformed)
	require.ErrorContains(t, err, "too many values")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(256<<10), "the body's copy, and 500 leaves")

	// The limit is that of callbacks.
	key := payout.Key{ProjectID: 1234, PaymentID: "p1"}
	_, err = parseStatus(transport.Response{Status: 200, ContentType: "application/json", Body: string(leaves(501))}, key, keys{})
	require.NoError(t, err)
	_, err = Canonical(leaves(501))
	require.NoError(t, err)
}

// Whatever a body is, it reads as encoding/json reads it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":[1,{"c":null}],"d":true},"signature":"x"}`, `{"a":"\u00e9\ud83d\ude00\ud83d\n\ud800\u0041\/"}`, `{"a":1.50e+10,"b":-0,"c":[[],{}]}`,
		`{"a":1,"a":2}`, `{"a":01}`, `{"a":"\x"}`, `{"a":1,}`, `{"a"}`, `{"a":tru}`, `{"a":1}{}`, ` { "a" : [ 1 , 2 ] } `, "{\"a\":\"\t\"}", `{"":{"":""}}`,
		`{"frame_mode":1,"general":{"signature":"s","a:b":1}}`, `[]`, `{`, ``, `{"a":-}`, `{"a":1.}`, `{"a":"\ud83d\u00e9"}`, `{"a":.5}`,
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"a":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want, bad := parseTokens(body)
		d, err := parseDocument(string(body))
		require.Equal(t, bad == nil, err == nil, "%v, encoding/json says %v", err, bad)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		require.Equal(t, want.signature, d.signature)
		require.Equal(t, want.leaves, d.leaves)
	})
}

func BenchmarkParse(b *testing.B) {
	const body = `{"status":"success","request_id":"1a23456bc7890de","project_id":1234,"payment_id":"night-0000001"}`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseDocument(body); err != nil {
			b.Fatal(err)
		}
	}
}
