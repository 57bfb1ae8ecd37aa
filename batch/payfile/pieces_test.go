package payfile

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/seal"
)

// What plainEmail takes, the parser of addresses takes too.
func TestPlainEmailIsAnEmail(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.StringMatching(`[a-zA-Z0-9_.+-]{0,8}@?[a-zA-Z0-9_.-]{0,8}(\.[a-z]{0,3})?`).Draw(t, "address")
		if plainEmail(v) {
			require.Empty(t, slowEmail(v), v)
		}
	})
	require.True(t, plainEmail("aibek.asanov+pay@mail.example.kg"))
	require.False(t, plainEmail("a@b"))
}

// recordsOf reads a text as encoding/csv does: where each record ends, and what it is.
func recordsOf(text string) (ends []int, records []string) {
	r := newReader(strings.NewReader(text), ';')
	r.FieldsPerRecord = -1
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return ends, records
		}
		record := fmt.Sprintf("%q", cells)
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			record = parse.Err.Error()
		}
		ends, records = append(ends, int(r.InputOffset())), append(records, record)
	}
}

// Wherever recordEnd finds an end, encoding/csv has found one.
func TestRecordEndsWhereTheReaderEndsIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{`"`, `"`, ";", "\n", "\r\n", "\r", "a", `""`, "\n\n"}), 0, 40).Draw(t, "text"), "")
		ends, _ := recordsOf(text)
		is := map[int]bool{}
		for _, end := range ends {
			is[end] = true
		}
		for at := 0; ; {
			n := recordEnd([]byte(text)[at:], ';')
			if n == 0 {
				break
			}
			blank := strings.Trim(text[at:at+n], "\r\n") == ""
			at += n
			require.True(t, is[at] || blank, "%q: an end at %d, the reader's are %v", text, at, ends)
		}
	})
}

// Read in pieces of any size, a text has the records that it has as a whole.
func TestPiecesHaveTheRecordsOfTheWhole(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{`"`, ";", "\n", "\n", "\r\n", "a", `;"b`, `"c";"d"` + "\n", "e;f\n", "\n\n"}), 0, 60).Draw(t, "text"), "")
		size := rapid.IntRange(1, 80).Draw(t, "size")
		path := filepath.Join(folder, "file.csv")
		require.NoError(t, os.WriteFile(path, []byte("method;account.number\n"+text), 0o600))
		in, err := Open(path, nil)
		require.NoError(t, err)
		defer func() { _ = in.Close() }()
		in.pieceSize = max(size, 22) // the header is in the first one
		cut, err := in.cut()
		require.NoError(t, err)
		_, want := recordsOf(text)
		var got []string
		line := 2
		for p, err := range cut.pieces(context.Background()) {
			require.NoError(t, err)
			require.Equal(t, line, p.line)
			line += bytes.Count(p.text, []byte{'\n'})
			_, records := recordsOf(string(p.text))
			got = append(got, records...)
		}
		require.Equal(t, want, got, "%q", text)
		id, err := in.ID()
		require.NoError(t, err)
		require.Equal(t, id, cut.sum())
	})
}

// What is cut short does not look whole.
func TestInOrderSaysThatItWasCutShort(t *testing.T) {
	t.Parallel()
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		taken := make(chan struct{})
		from := func(yield func(piece, error) bool) {
			yield(piece{line: 1}, nil)
			<-taken
			cancel()
			yield(piece{line: 2}, nil)
		}
		last := errors.New("nothing came")
		for n, err := range inOrder(ctx, from, func() func(piece) (int, error) { return func(p piece) (int, error) { return p.line, nil } }) {
			if last = err; n == 1 {
				close(taken)
			}
		}
		require.ErrorIs(t, last, context.Canceled)
	}
}

// However a file is cut, the same is found in it, and the same is loaded of it.
func TestPiecesFindTheSame(t *testing.T) {
	t.Parallel()
	const header = "operation_type;general.project_id;method;general.payment_id;payment.amount;payment.currency;account.number;account.bank_code;customer.id;customer.ip_address;customer.first_name;customer.last_name;customer.email\n"
	o := bolt.Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: seal.NewKey()}
	require.NoError(t, bolt.Create(t.Context(), o))
	s, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	wrong := []string{
		"", "a bad amount", "an empty cell", "too few cells", "a known id with other content", "a doubled id", "a bare quote", "a quoted name",
		"a NUL", "not UTF-8", "a total line", "an unknown method", "a method whose column is missing", "another project",
	}
	outcome := func(k *Checked, err error) string {
		var refused *FileError
		switch {
		case errors.As(err, &refused):
			return fmt.Sprint("refused: ", refused.Count, refused.Problems, refused.Warnings)
		case err != nil:
			return err.Error()
		}
		return fmt.Sprintf("%+v %v", *k, k.skip)
	}
	for round := range 6 {
		for _, what := range wrong {
			rows := 1 + rng.IntN(600)
			odd := rng.IntN(rows)
			var b strings.Builder
			b.WriteString(header)
			for i := range rows {
				// Every third row is in every round: known from the second on.
				id := fmt.Sprintf("r%d-%d", round, i)
				if i%3 == 0 {
					id = fmt.Sprintf("always-%d", i)
				}
				amount, bank, name, method, project := "1250", []string{"mbank", "optima", "new"}[i%3], "Айгуль", "sbp-p2p", "1234"
				end := "\n"
				if i >= odd && (i == odd || rng.IntN(4) == 0) {
					switch what {
					case "a bad amount":
						amount = "12.50"
					case "an empty cell":
						name = ""
					case "too few cells":
						end = "\npayout;1234\n"
					case "a known id with other content":
						id, amount = fmt.Sprintf("always-%d", i/3*3), "77"
					case "a doubled id":
						end = fmt.Sprintf("\npayout;1234;sbp-p2p;%s;1250;KGS;996555123456;mbank;c;198.51.100.7;A;B;a@example.com\n", id)
					case "a bare quote":
						name = `A"b`
					case "a quoted name":
						name = "\"A;\n\"\"b\"\"\""
					case "a NUL":
						name = "A\x00"
					case "not UTF-8":
						name = "A\xff"
					case "a total line":
						end = "\nTOTAL;;;;99;;;;;;;;\n"
					case "an unknown method":
						method = "sbp-p2q"
					case "a method whose column is missing":
						method = "banks/spei"
					case "another project":
						project = "99"
					}
				}
				fmt.Fprintf(&b, "payout;%s;%s;%s;%s;KGS;99655512%04d;%s;c-%d;198.51.100.7;%s;B;a%d@example.com%s", project, method, id, amount, i, bank, i, name, i, end)
			}
			path := filepath.Join(t.TempDir(), "file.csv")
			require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
			in, err := Open(path, nil)
			require.NoError(t, err)
			for _, skip := range []bool{false, true} {
				c := &Checker{Store: s, Skip: skip}
				c.Projects = func(p uint32) bool { return p == 1234 }
				in.pieceSize = 10 << 20
				whole, err := c.Check(t.Context(), in)
				want := outcome(whole, err)
				in.pieceSize = 512 + rng.IntN(8<<10)
				pieces, err := c.Check(t.Context(), in)
				if got := outcome(pieces, err); what != "a NUL" && what != "not UTF-8" {
					require.Equal(t, erasePointer(want), erasePointer(got), "%s", what)
				} else {
					require.Contains(t, got, "refused", "%s", what)
				}
				if whole == nil || skip && what != "" {
					continue
				}
				read := func(size int, k *Checked) (all []store.Row) {
					in.pieceSize = size
					for r, err := range k.rows(in) {
						require.NoError(t, err)
						all = append(all, r)
					}
					return all
				}
				require.Equal(t, read(10<<20, whole), read(700, pieces), "%s", what)
				if round < 3 && !skip {
					in.pieceSize = 1000
					_, err = pieces.Load(t.Context(), s, in, nil)
					require.NoError(t, err)
				}
			}
			require.NoError(t, in.Close())
		}
	}
}

// erasePointer takes the address of a function out of a text.
func erasePointer(s string) string {
	i := strings.LastIndex(s, "projects:0x")
	if i < 0 {
		return s
	}
	return s[:i]
}

// Sums of a day that no integer holds are over every limit.
func TestPlus(t *testing.T) {
	t.Parallel()
	require.Equal(t, int64(3), plus(1, 2))
	require.Equal(t, int64(math.MaxInt64), plus(math.MaxInt64-1, 1))
	require.Equal(t, int64(math.MaxInt64), plus(math.MaxInt64-1, math.MaxInt64-1))
}
