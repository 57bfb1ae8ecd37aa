package payfile_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/batch/payfile"
)

func fixed(t *testing.T, text string) (string, []string) {
	t.Helper()
	var out strings.Builder
	var changes []string
	require.NoError(t, payfile.Fix(input(t, "file.csv", text), &out, func(c payfile.Change) { changes = append(changes, c.String()) }))
	return out.String(), changes
}

// What can be paid is left as it is, byte for byte.
func TestFixLeavesGoodFilesAlone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{file("p", 500), sample(t, "kyrgyzstan.csv"), sample(t, "methods.csv"), header + strings.Replace(line("p1", 1, 20), "Aibek", `" quoted; and spaced "`, 1)} {
		got, changes := fixed(t, text)
		require.Empty(t, changes)
		require.Equal(t, text, got)
	}
}

func TestFix(t *testing.T) {
	t.Parallel()
	good := header + line("p1", 100, 20)
	for _, tt := range []struct{ name, is, to, says string }{
		{"byte order mark", "\ufeff" + good, good, "line 1: left out: the byte order mark"},
		{"sep", "sep=;\n" + good, good, "line 1: left out: sep=;, a line for a spreadsheet"},
		{"delimiter", strings.ReplaceAll(good, ";", "\t"), good, `line 1: columns are divided by ';' instead of '\t'`},
		{"line ends", strings.ReplaceAll(good, "\n", "\r\n"), good, "lines end with a line feed alone"},
		{"names", strings.Replace(good, "customer.id", " Customer.ID", 1), good, `line 1: customer.id " Customer.ID" -> "customer.id"`},
		{"bank", strings.Replace(good, ";mbank", "; mbank\u00a0", 1), good, "line 2: account.bank_code \" mbank\\u00a0\" -> \"mbank\""},
		{"phone", strings.Replace(good, "996555123420", "+996 (555) 12-34-20", 1), good, `line 2: account.number "+996***-20" -> "996***20"`},
		{"apostrophe", strings.Replace(good, "996555123420", "'996555123420", 1), good, "line 2: account.number"},
		{"columns at the end", strings.ReplaceAll(good, "\n", ";;\n"), good, "line 1: left out: 2 columns at the end"},
		{"rows at the end", good + ";;;;;;;;;;;;\n;;\n", good, "left out at the end: rows with nothing in them (2)"},
	} {
		got, changes := fixed(t, tt.is)
		require.Equal(t, tt.to, got, tt.name)
		require.Len(t, changes, 1, tt.name)
		require.Contains(t, changes[0], tt.says, tt.name)
	}
	for is, to := range map[string]string{
		"+996 (555) 12-34-20": "996555123420", "'996555123420": "996555123420", "996 555 12 34 20": "996555123420", "99655512-34-20": "996555123420", "+7 916 123-45-67": "79161234567",
		// Whatever may be something else stays.
		"99655110372.5": "", "996555123420.0": "", "+44 (0)20 7946 0958": "", "996551103-727 996551": "", "2026-11-26": "", "12.11.2026": "", "996 555 12 34 2": "", "+996+555123420": "",
		"996555123420,": "", "(996) 555 123420": "", "12-34": "", "996--555123420": "", "996 5 5 5 1 2 3 4 2 0": "", "996555123420 x": "",
	} {
		got, _ := fixed(t, strings.Replace(good, "996555123420", is, 1))
		if to == "" {
			to = is
		}
		require.Contains(t, strings.ReplaceAll(got, `"`, ""), ";"+to+";", is)
	}
	_, shifted := fixed(t, strings.Replace(good, ";KGS;", "; 996551103727;", 1))
	require.Equal(t, []string{`line 2: payment.currency " 996***727" -> "996***27"`}, shifted, "nobody's number is shown because it is in the wrong column")

	// What may be meant, or has more than one reading, stays; the check tells.
	for name, cell := range map[string][2]string{
		"an amount": {";100;", "; 100 ;"}, "an amount with a point": {";100;", ";1.00;"}, "an id": {";p1;", "; p1;"}, "a name": {";Aibek;", "; Aibek;"},
		"a customer's id": {";c-p1;", "; c-p1;"}, "a number in powers of ten": {"996555123420", "9.96555E+11"}, "a phone with a letter": {"996555123420", "+99655512342O"},
		"two numbers": {"996555123420", "996555123420 +996555123421"}, "an empty row between": {header, header + ";;;;;;;;;;;;\n"},
	} {
		is := strings.Replace(good, cell[0], cell[1], 1)
		got, changes := fixed(t, is)
		require.Equal(t, is, strings.ReplaceAll(got, `"`, ""), name)
		require.Empty(t, changes, name)
	}
	// What is no CSV is refused, wherever that begins.
	for name, text := range map[string]string{
		"another encoding": file("p", 20_000) + strings.Replace(line("p1", 100, 20), "Aibek", "\xc0\xe9", 1), "a quote": good + `"` + line("p2", 1, 20),
		"a spreadsheet": xlsx(), "nothing": "",
	} {
		var out strings.Builder
		err := payfile.Fix(input(t, "file.csv", text), &out, func(payfile.Change) {})
		require.NotEmpty(t, problemsOf(t, err), name)
	}
}
