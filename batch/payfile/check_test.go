package payfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"masspay/batch/payfile"
	"masspay/batch/result"
	"masspay/docs/docstest"
	"masspay/payout"
	"masspay/samples"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/seal"
)

// checker has an empty store.
func checker(t testing.TB) *payfile.Checker {
	t.Helper()
	o := bolt.Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: seal.NewKey()}
	require.NoError(t, bolt.Create(t.Context(), o))
	s, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return &payfile.Checker{Store: s, Projects: project1234}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *docstest.Update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func sample(t testing.TB, name string) string {
	t.Helper()
	b, err := samples.Files.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

func problemsOf(t *testing.T, err error) string {
	t.Helper()
	var refused *payfile.FileError
	require.ErrorAs(t, err, &refused)
	var b strings.Builder
	_, _ = fmt.Fprintln(&b, refused)
	for _, p := range refused.Problems {
		_, _ = fmt.Fprintln(&b, p)
	}
	return b.String()
}

func TestSamples(t *testing.T) {
	t.Parallel()
	k, err := checker(t).Check(t.Context(), input(t, "kyrgyzstan.csv", sample(t, "kyrgyzstan.csv")))
	require.NoError(t, err)
	require.Equal(t, 50, k.Rows)
	require.Empty(t, k.Warnings)
	k, err = checker(t).Check(t.Context(), input(t, "methods.csv", sample(t, "methods.csv")))
	require.NoError(t, err)
	require.Equal(t, 8, k.Rows)
	require.Len(t, k.Totals, 7)
	require.Empty(t, k.Warnings)
	_, err = checker(t).Check(t.Context(), input(t, "problems.csv", sample(t, "problems.csv")))
	golden(t, "problems.golden", problemsOf(t, err))
}

func xlsx() string { return "PK\x03\x04\x14\x00\x06\x00" + strings.Repeat("\x00x", 400) }

func utf16le(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

// Files that are refused as a whole, and what the clerk reads.
func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	good := line("p1", 100, 20)
	replace := func(old, now string) string { return strings.Replace(header, old, now, 1) + good }
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "the file is empty"},
		{"only spaces", " \n\n", "the file is empty"},
		{"header only", header, "the file has a header and no rows"},
		{"xlsx", xlsx(), "this is a spreadsheet (.xlsx) or a zip file, not CSV"},
		{"xls", "\xd0\xcf\x11\xe0" + strings.Repeat("\x00", 600), "this is a spreadsheet (.xls)"},
		{"HTML", "<!DOCTYPE html><html>login</html>", "this is HTML or XML, not CSV"},
		{"JSON", `{"a":1}`, "this is JSON"},
		{"PDF", "%PDF-1.4 ...", "this is a PDF file"},
		{"gzip", "\x1f\x8b\x08\x00", "this is a compressed file"},
		{"binary", strings.Repeat("\x01\x02\x03abc", 100), "this is a binary file"},
		{"UTF-16", utf16le(header + good), "the file is UTF-16"},
		{"UTF-16 without its mark", utf16le(header + good)[2:], "the file is UTF-16"},
		{"NUL", header + good + strings.Replace(good, "Asanov", "Asa\x00nov", 1), "line 3: the line has a NUL byte"},
		{"windows-1251", header + good + strings.Replace(good, "Asanov", "\xc0\xf1\xe0\xed\xee\xe2", 1), "line 3: not UTF-8"},
		{"old Mac lines", strings.ReplaceAll(header+good, "\n", "\r"), "line 1: lines end with a lone carriage return"},
		{"doubled column", replace("customer.email", "customer.id"), "line 1: customer.id: duplicate column: keep one"},
		{"missing column", strings.NewReplacer("general.payment_id;", "", ";p1;", ";").Replace(header + good), "line 1: general.payment_id: the column is missing"},
		{"column of the method missing", strings.NewReplacer(";customer.email", "", ";aibek@example.com", "").Replace(header + good), "line 1: customer.email: the column is missing: method sbp-p2p needs it (first on line 2)"},
		{"unknown column", replace("customer.email", "customer.e-mail"), "line 1: customer.e-mail: unknown column: did you mean customer.email?"},
		{"a note of one's own", replace("customer.email", "comment by Olga"), "line 1: comment by Olga: unknown column: names are dotted paths"},
		{"no header at all", good + line("p2", 100, 20), "line 1: the first line has no column names"},
		{"column without a name", replace("customer.email", ""), "line 1: column 13 has no name"},
		{"signature column", replace("customer.email", "general.signature"), "line 1: general.signature: a file has no signatures"},
		{"object column", strings.NewReplacer("customer.email", "payment_data", "sbp-p2p", "unify").Replace(header + good), "line 1: payment_data: the field is an object"},
		{"short row", header + good + "payout;1234\n" + good, "line 3: the row has 2 cells, the header has 13"},
		{"long row", header + strings.TrimSpace(good) + ";x\n", "line 2: the row has 14 cells, the header has 13"},
		{"quote never closed", header + good + strings.Replace(good, "Aibek", `"Aibek`, 1) + good + good, `line 3: a quote (") opens here and does not close`},
		{"quote never closed, endless", header + good + strings.Replace(good, "Aibek", `"Aibek`, 1) + strings.Repeat(good, 10_000), `line 3: this row is longer than 256 KiB: a quote (")`},
		{"bare quote", header + strings.Replace(good, "Aibek", `Ai"bek`, 1), `line 2: a quote (") is inside a cell`},
		{"no text at all", header + strings.Repeat(";", 12) + "\n", "the file has a header and no rows"},
		{"every row twice", header + good + good, `line 2: general.payment_id "p1": duplicate payment_id, also on line 3`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := checker(t).Check(t.Context(), input(t, "file.csv", tt.text))
			require.Contains(t, problemsOf(t, err), tt.want)
			require.Contains(t, err.Error(), "nothing was sent")
		})
	}
}

// A file that ends within its last amount looks like a whole one with a smaller amount.
func TestAFileThatEndsWithinAnAmount(t *testing.T) {
	t.Parallel()
	text := "operation_type;general.project_id;method;general.payment_id;payment.currency;account.number;account.bank_code;customer.id;customer.ip_address;customer.first_name;customer.last_name;customer.email;payment.amount\n" +
		"payout;1234;sbp-p2p;p1;KGS;996555123420;mbank;c-1;198.51.100.7;Aibek;Asanov;aibek@example.com;"
	const cut = "the last line has no end, and ends with its amount"
	total := payfile.Expect{Totals: []payout.Amount{{Minor: 1000, Currency: "KGS"}}}
	for _, tt := range []struct {
		name, end string
		expect    payfile.Expect
		problem   string
		warnings  int
	}{
		{"with its end", "1000\n", payfile.Expect{}, "", 0},
		{"without", "1000", payfile.Expect{}, cut, 0},
		{"with its total", "1000", total, "", 1},
		{"with the number of rows", "1000", payfile.Expect{Rows: 1}, "", 1},
		{"quoted", `"1000"`, payfile.Expect{}, "", 1},
		{"CR alone", "1000\r", payfile.Expect{}, "", 0},
	} {
		c := checker(t)
		c.Expect = tt.expect
		k, err := c.Check(t.Context(), input(t, "file.csv", text+tt.end))
		if tt.problem != "" {
			require.Contains(t, problemsOf(t, err), tt.problem, tt.name)
			continue
		}
		require.NoError(t, err, tt.name)
		require.Len(t, k.Warnings, tt.warnings, tt.name)
	}
}

func TestFilesThatAreTooLarge(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sparse.csv")
	require.NoError(t, os.WriteFile(path, []byte(header), 0o600))
	require.NoError(t, os.Truncate(path, 5<<30))
	_, err := payfile.Open(path, nil)
	require.Contains(t, problemsOf(t, err), "the file is larger than 4 GB")
}

// Files that are odd and all the same unmistakable.
func TestFilesThatAreAccepted(t *testing.T) {
	t.Parallel()
	good := line("p1", 100, 20)
	reverse := func(s string) string {
		cells := strings.Split(strings.TrimSpace(s), ";")
		for i, j := 0, len(cells)-1; i < j; i, j = i+1, j-1 {
			cells[i], cells[j] = cells[j], cells[i]
		}
		return strings.Join(cells, ";") + "\n"
	}
	for _, tt := range []struct{ name, text, warning string }{
		{"as the format says", header + good, ""},
		{"byte order mark", "\ufeff" + header + good, "the file begins with a byte order mark"},
		{"CRLF", strings.ReplaceAll(header+good, "\n", "\r\n"), ""},
		{"blank lines at the end", header + good + "\n\n\n", ""},
		{"no last newline", strings.TrimSuffix(header+good, "\n"), "the last line has no end: is the file whole?"},
		{"columns in any order", reverse(header) + reverse(good), ""},
		{"quoted", quoted(header) + quoted(good), ""},
		{"commas", strings.ReplaceAll(header+good, ";", ","), "columns are separated by ','"},
		{"tabs", strings.ReplaceAll(header+good, ";", "\t"), "columns are separated by '\\t'"},
		{"bars", strings.ReplaceAll(header+good, ";", "|"), "columns are separated by '|'"},
		{"spaces around text", header + strings.Replace(good, "Asanov", " Asanov ", 1), "customer.last_name: spaces around the value are sent as they are"},
		{"unknown bank", header + strings.Replace(good, "mbank", "newbank", 1), `account.bank_code "newbank": not among the known banks`},
		{"foreign number", header + strings.Replace(good, "996555123420", "79876543210", 1), "account.number: not a Kyrgyz number"},
		{"other scripts in names", header + strings.Replace(good, "Asanov", "Жакыпова", 1), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := checker(t)
			in := input(t, "file.csv", tt.text)
			k, err := c.Check(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, 1, k.Rows)
			if tt.warning == "" {
				require.Empty(t, k.Warnings)
			} else {
				require.Len(t, k.Warnings, 1)
				require.Contains(t, k.Warnings[0].String(), tt.warning)
			}
			l, err := k.Load(t.Context(), whole(c), in, nil)
			require.NoError(t, err)
			var out bytes.Buffer
			sum, err := result.Report{}.To(t.Context(), whole(c), l.Batch, &out)
			require.NoError(t, err)
			require.Equal(t, 1, sum.Rows)
		})
	}
}

func quoted(s string) string {
	return `"` + strings.ReplaceAll(strings.TrimSpace(s), ";", `";"`) + "\"\n"
}

func TestEqualProblemsAreOne(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(header)
	for i := range 5000 {
		b.WriteString(line(fmt.Sprintf("n-%05d", i), i%100/99, 20)) // one good row in a hundred
	}
	b.WriteString(line("n-00000", 1, 20))
	_, err := checker(t).Check(t.Context(), input(t, "file.csv", b.String()))
	var refused *payfile.FileError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 4952, refused.Count)
	require.Equal(t, "file.csv: 4,952 problems, nothing was sent", refused.Error())
	require.Len(t, refused.Problems, 3)
	require.Equal(t, 4950, refused.Problems[0].Rows())
	require.Contains(t, refused.Problems[0].String(), `line 2: payment.amount "0": must be more than zero (also lines 3 to 100, 102 to 200, 202 to 300, 302 to 400, 402 to 500, 502 to 600 and 4,356 more)`)
}

func TestProblemsAreCountedAndTheFirstThousandShown(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(header)
	for range 2 {
		for i := range 1200 {
			b.WriteString(line(fmt.Sprintf("n-%05d", i), 1, 20))
		}
	}
	_, err := checker(t).Check(t.Context(), input(t, "file.csv", b.String()))
	var refused *payfile.FileError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 2400, refused.Count)
	require.Len(t, refused.Problems, 1000)
	require.Equal(t, 2, refused.Problems[0].Line)
	require.Equal(t, 1001, refused.Problems[999].Line)
	require.Equal(t, "file.csv: 2,400 problems, nothing was sent", refused.Error())
}

func TestControlTotals(t *testing.T) {
	t.Parallel()
	text := header + line("p1", 125000, 20) + line("p2", 5000, 21)
	kgs := func(minor int64) []payout.Amount { return []payout.Amount{{Minor: minor, Currency: "KGS"}} }
	for _, tt := range []struct {
		name   string
		expect payfile.Expect
		want   string
	}{
		{"right", payfile.Expect{Rows: 2, Totals: kgs(130000), Most: kgs(130000)}, ""},
		{"rows", payfile.Expect{Rows: 3}, "the file has 2 rows, 3 were expected (--expect-rows)"},
		{"total", payfile.Expect{Totals: kgs(1300000)}, "the file adds up to 1,300.00 KGS, 13,000.00 KGS was expected (--expect-total)"},
		{"another currency", payfile.Expect{Totals: []payout.Amount{{Minor: 130000, Currency: "USD"}}}, "the file adds up to 0.00 USD, 1,300.00 USD was expected"},
		{"limit", payfile.Expect{Most: kgs(129999)}, "the file adds up to 1,300.00 KGS, over the limit of 1,299.99 KGS (limits.run_total)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := checker(t)
			c.Expect = tt.expect
			k, err := c.Check(t.Context(), input(t, "file.csv", text))
			if tt.want == "" {
				require.NoError(t, err)
				require.Equal(t, kgs(130000), k.Totals)
				return
			}
			require.Contains(t, problemsOf(t, err), tt.want)
		})
	}
}

func TestADuplicateIDCountsEvenInARowThatIsNoPayout(t *testing.T) {
	t.Parallel()
	c := checker(t)
	c.Skip = true
	text := header + line("ok", 100, 20) + line("a1", 100, 20) + strings.Replace(line("a1", 100, 21), "payout;", "Payout;", 1)
	k, err := c.Check(t.Context(), input(t, "file.csv", text))
	require.NoError(t, err)
	require.Equal(t, 2, k.Skipped, "all rows of a doubled id are left out")
	require.Equal(t, 1, k.New)
}

func TestSkipInvalidNeverSkipsStructure(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"short row":     header + line("p1", 100, 20) + "payout;1234\n",
		"all rows bad":  header + line("p1", 0, 20),
		"control total": header + line("p1", 100, 20) + line("p2", 0, 20),
	} {
		c := checker(t)
		c.Skip = true
		if name == "control total" {
			c.Expect.Totals = []payout.Amount{{Minor: 200, Currency: "KGS"}}
		}
		_, err := c.Check(t.Context(), input(t, "file.csv", text))
		var refused *payfile.FileError
		require.ErrorAs(t, err, &refused, name)
	}
}

// Someone is still uploading while the file is read.
func TestAFileThatChangesIsNotLoaded(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(path string) error{
		"a row more": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString(line("p3", 100, 22))
			return errors.Join(err, f.Close())
		},
		"another amount": func(path string) error {
			return os.WriteFile(path, []byte(header+line("p1", 999, 20)+line("p2", 200, 21)), 0o600)
		},
		"cut off": func(path string) error { return os.Truncate(path, int64(len(header)+20)) },
	} {
		c := checker(t)
		path := filepath.Join(t.TempDir(), "file.csv")
		require.NoError(t, os.WriteFile(path, []byte(header+line("p1", 100, 20)+line("p2", 200, 21)), 0o600))
		in, err := payfile.Open(path, nil)
		require.NoError(t, err)
		k, err := c.Check(t.Context(), in)
		require.NoError(t, err)
		require.NoError(t, change(path))
		_, err = k.Load(t.Context(), whole(c), in, nil)
		require.ErrorIs(t, err, payfile.ErrChanged, name)
		for range whole(c).Batches(t.Context()) {
			t.Fatal("something was loaded")
		}
		require.NoError(t, in.Close())
	}
}

// A file is known by its content, whatever its name; another one of the same size is not.
func TestLoadedAs(t *testing.T) {
	t.Parallel()
	c := checker(t)
	_, err := payfile.LoadedAs(t.Context(), whole(c), input(t, "none.csv", header+line("p1", 100, 20)))
	require.ErrorIs(t, err, store.ErrNoBatch)
	in := input(t, "file.csv", header+line("p1", 100, 20))
	k, err := c.Check(t.Context(), in)
	require.NoError(t, err)
	l, err := k.Load(t.Context(), whole(c), in, nil)
	require.NoError(t, err)
	require.EqualValues(t, in.Size(), l.Batch.Size)
	b, err := payfile.LoadedAs(t.Context(), whole(c), input(t, "again.csv", header+line("p1", 100, 20)))
	require.NoError(t, err)
	require.Equal(t, l.Batch.ID, b.ID)
	for _, text := range []string{header + line("p1", 999, 20), header + line("p1", 1000, 20)} {
		_, err = payfile.LoadedAs(t.Context(), whole(c), input(t, "other.csv", text))
		require.ErrorIs(t, err, store.ErrNoBatch)
	}
}

func TestStandardInputIsSpooledWithoutAName(t *testing.T) {
	t.Parallel()
	in, err := payfile.Open("-", strings.NewReader(header+line("p1", 100, 20)))
	require.NoError(t, err)
	defer func() { require.NoError(t, in.Close()) }()
	k, err := checker(t).Check(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, "stdin", k.Name)
}

// Text of the gate that a spreadsheet would run is made harmless; the input's
// own cells are never touched.
func TestGateTextIsSafeForSpreadsheets(t *testing.T) {
	t.Parallel()
	c := checker(t)
	text := header + strings.Replace(line("p1", 100, 20), "Asanov", "=1+1", 1)
	in := input(t, "file.csv", text)
	k, err := c.Check(t.Context(), in)
	require.NoError(t, err)
	l, err := k.Load(t.Context(), whole(c), in, nil)
	require.NoError(t, err)
	_, err = whole(c).Apply(t.Context(), payout.Event{
		Key: payout.Key{ProjectID: 1234, PaymentID: "p1"}, Kind: payout.Final, Outcome: payout.StateDeclined, Source: payout.FromCallback,
		Reported: payout.Reported{Status: "decline", Code: "20000", Message: "=HYPERLINK(1)", OperationID: "+1", ProviderPaymentID: "@x", Amount: payout.Amount{Minor: 100, Currency: "KGS"}},
		Customer: "c-p1", Made: time.Now(),
	})
	require.NoError(t, err)
	var out bytes.Buffer
	_, err = result.Report{}.To(t.Context(), whole(c), l.Batch, &out)
	require.NoError(t, err)
	row := parse(t, &out)[0]
	require.Equal(t, "'=HYPERLINK(1)", row["result.message"])
	require.Equal(t, "'+1", row["result.operation_id"])
	require.Equal(t, "'@x", row["result.provider_payment_id"])
	require.Equal(t, "=1+1", row["customer.last_name"])
}

func FuzzCheck(f *testing.F) {
	for _, name := range []string{"kyrgyzstan.csv", "methods.csv", "problems.csv"} {
		f.Add([]byte(sample(f, name)))
	}
	f.Add([]byte(header + `"a;b`))
	c := checker(f)
	path := filepath.Join(f.TempDir(), "file.csv")
	f.Fuzz(func(t *testing.T, text []byte) {
		require.NoError(t, os.WriteFile(path, text, 0o600))
		in, err := payfile.Open(path, nil)
		require.NoError(t, err)
		defer func() { _ = in.Close() }()
		k, err := c.Check(t.Context(), in)
		var refused *payfile.FileError
		if err != nil {
			require.ErrorAs(t, err, &refused)
			require.NotZero(t, refused.Count)
			return
		}
		require.NotZero(t, k.Rows)
	})
}

func BenchmarkCheck(b *testing.B) {
	c := checker(b)
	const rows = 100_000
	path := filepath.Join(b.TempDir(), "file.csv")
	require.NoError(b, os.WriteFile(path, []byte(file("b", rows)), 0o600))
	in, err := payfile.Open(path, nil)
	require.NoError(b, err)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		k, err := c.Check(b.Context(), in)
		require.NoError(b, err)
		require.Equal(b, rows, k.Rows)
		n += rows
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
