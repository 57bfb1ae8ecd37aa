package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"masspay/store"
	"masspay/store/bolt"
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

// However a file is cut into chunks, every chunk ends with a whole row, and
// together they are the file.
func TestChunksAreWholeRows(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 50 {
		var b strings.Builder
		b.WriteString("a;b\n")
		at := 2
		rows := 1 + rng.IntN(8_000)
		lines := make([]int, 0, rows)
		for i := range rows {
			lines = append(lines, at)
			at++
			switch rng.IntN(4) {
			case 0:
				at++
				fmt.Fprintf(&b, "%d;\"two\nlines, \"\"quoted\"\"\"\r\n", i)
			case 1:
				fmt.Fprintf(&b, "%d;%s\n", i, strings.Repeat("x", rng.IntN(200)))
			default:
				fmt.Fprintf(&b, "%d;plain\n", i)
			}
		}
		text := b.String()
		if rng.IntN(2) == 0 {
			text = strings.TrimSuffix(text, "\n")
		}
		path := filepath.Join(t.TempDir(), "file.csv")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		in, err := OpenInput(path, nil)
		require.NoError(t, err)
		c := in.chunks(2, ';')
		next := 0
		work := func(k chunk) (read []row, err error) {
			err = c.rows(k, func(r row) error {
				read = append(read, row{line: r.line, cells: []string{r.cells[0]}})
				return nil
			})
			return read, err
		}
		for read, err := range inOrder(t.Context(), c.all(t.Context()), func() func(chunk) ([]row, error) { return work }) {
			require.NoError(t, err, "seed %d", seed)
			for _, r := range read {
				require.Equal(t, fmt.Sprint(next), r.cells[0], "seed %d", seed)
				require.Equal(t, lines[next], r.line, "seed %d", seed)
				next++
			}
		}
		require.Equal(t, rows, next, "seed %d", seed)
		id, err := in.ID()
		require.NoError(t, err)
		require.Equal(t, id, c.sum(), "seed %d", seed)
		require.NoError(t, in.Close())
	}
}

// What is cut short does not look whole.
func TestInOrderSaysThatItWasCutShort(t *testing.T) {
	t.Parallel()
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		taken := make(chan struct{})
		from := func(yield func(chunk, error) bool) {
			yield(chunk{line: 1}, nil)
			<-taken
			cancel()
			yield(chunk{line: 2}, nil)
		}
		last := errors.New("nothing came")
		for n, err := range inOrder(ctx, from, func() func(chunk) (int, error) { return func(k chunk) (int, error) { return k.line, nil } }) {
			if last = err; n == 1 {
				close(taken)
			}
		}
		require.ErrorIs(t, last, context.Canceled)
	}
}

// A file that is read in chunks is found to be what it is found to be row by row;
// with anything wrong, it is not read in chunks.
func TestCleanIsWhatReadFinds(t *testing.T) {
	t.Parallel()
	const header = "operation_type;general.project_id;method;general.payment_id;payment.amount;payment.currency;account.number;account.bank_code;customer.id;customer.ip_address;customer.first_name;customer.last_name;customer.email\n"
	o := bolt.Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: bolt.NewKey()}
	require.NoError(t, bolt.Create(t.Context(), o))
	s, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	c := &Checker{Store: s, Projects: func(p uint32) bool { return p == 1234 }}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 2))
	wrong := []string{"", "a bad amount", "an empty cell", "too few cells", "a known id with other content", "a doubled id", "a bare quote", "a NUL", "not UTF-8"}
	for round := range 8 {
		for _, what := range wrong {
			rows := 1 + rng.IntN(3_000)
			odd := rng.IntN(rows)
			var b strings.Builder
			b.WriteString(header)
			for i := range rows {
				// Every third row is in every round: known from the second on.
				id := fmt.Sprintf("r%d-%d", round, i)
				if i%3 == 0 {
					id = fmt.Sprintf("always-%d", i)
				}
				amount, bank, name := "1250", []string{"mbank", "optima", "new"}[i%3], "Айгуль"
				end := "\n"
				if i == odd {
					switch what {
					case "a bad amount":
						amount = "12.50"
					case "an empty cell":
						name = ""
					case "too few cells":
						end = "\npayout;1234\n"
					case "a known id with other content":
						id, amount = "always-0", "77"
					case "a doubled id":
						end = fmt.Sprintf("\npayout;1234;sbp-p2p;%s;1250;KGS;996555123456;mbank;c;198.51.100.7;A;B;a@example.com\n", id)
					case "a bare quote":
						name = `A"b`
					case "a NUL":
						name = "A\x00"
					case "not UTF-8":
						name = "A\xff"
					}
				}
				fmt.Fprintf(&b, "payout;1234;sbp-p2p;%s;%s;KGS;99655512%04d;%s;c-%d;198.51.100.7;%s;B;a%d@example.com%s", id, amount, i, bank, i, name, i, end)
			}
			path := filepath.Join(t.TempDir(), "file.csv")
			require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
			in, err := OpenInput(path, nil)
			require.NoError(t, err)
			chunked, slow := c.begin(t.Context(), in), c.begin(t.Context(), in)
			fast := chunked.clean()
			if what != "" {
				require.ErrorIs(t, fast, errUnclean, "seed %d: %s", seed, what)
				_, err := c.Check(t.Context(), in)
				require.Error(t, err, "seed %d: %s", seed, what)
				continue
			}
			require.NoError(t, fast, "seed %d: %s", seed, what)
			require.NoError(t, slow.read())
			x, err := chunked.result()
			require.NoError(t, err)
			y, err := slow.result()
			require.NoError(t, err)
			require.True(t, x.clean)
			x.clean, x.projects, y.projects = false, nil, nil
			x.skip, y.skip = nil, nil
			require.Equal(t, y, x, "seed %d", seed)
			// And so is what is loaded of it.
			x.projects, y.projects = c.Projects, c.Projects
			quick, slowly := collect(t, x.cleanRows(s, in)), collect(t, y.anyRows(s, in))
			require.Equal(t, slowly, quick)
			if round < 3 {
				_, err = x.Load(t.Context(), s, in)
				require.NoError(t, err)
			}
			require.NoError(t, in.Close())
		}
	}
}

func collect(t *testing.T, rows iter.Seq2[store.Row, error]) (all []store.Row) {
	for r, err := range rows {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}
