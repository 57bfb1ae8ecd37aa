package payfile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/batch/payfile"
	"masspay/batch/result"
)

// found is what a check tells of a file, problems and warnings.
func found(t *testing.T, text string) string {
	t.Helper()
	k, err := checker(t).Check(t.Context(), input(t, "file.csv", text))
	var told []string
	var refused *payfile.FileError
	switch {
	case errors.As(err, &refused):
		for _, w := range refused.Warnings {
			told = append(told, "warning: "+w.String())
		}
		for _, p := range refused.Problems {
			told = append(told, p.String())
		}
	default:
		require.NoError(t, err)
		for _, w := range k.Warnings {
			told = append(told, "warning: "+w.String())
		}
	}
	return strings.Join(told, "\n")
}

// What spreadsheets, keyboards and exports make of cells is named for what it is; what only
// looks like it passes.
func TestWhatBecomesOfCells(t *testing.T) {
	t.Parallel()
	const power = "a spreadsheet turned this into a power of ten"
	for _, tt := range []struct{ column, is, says string }{
		{"general.payment_id", "1.2E+05", `line 2: general.payment_id "1.2E+05": ` + power},
		{"general.payment_id", "2,02611E+11", power},
		{"general.payment_id", "1E+05", power},
		{"general.payment_id", "12E05", "warning: line 2: general.payment_id looks like a power of ten"},
		{"general.payment_id", "salary-1E5", ""},
		{"general.payment_id", "Nov-26", "warning: line 2: general.payment_id looks like a date"},
		{"general.payment_id", "01.ноя", "warning: line 2: general.payment_id looks like a date"},
		{"general.payment_id", "01.11.2026", "warning: line 2: general.payment_id looks like a date"},
		{"general.payment_id", "1/11/26", "warning: line 2: general.payment_id looks like a date"},
		{"general.payment_id", "2026-11-01-7", ""},
		{"general.payment_id", "inv-26", ""},
		{"general.payment_id", "sаlary-1", `general.payment_id "sаlary-1": character 2 is a Cyrillic letter in a Latin word`},
		{"general.payment_id", "ведомocть-5", "character 6 is a Latin letter in a Cyrillic word"},
		{"general.payment_id", "ведомостьN5", ""},
		{"general.payment_id", "ведомость-N5", ""},
		{"general.payment_id", "#N/A", `general.payment_id "#N/A": an error of a spreadsheet's formula`},
		{"general.payment_id", "#ССЫЛКА!", "an error of a spreadsheet's formula"},
		{"general.payment_id", "NULL", `general.payment_id "NULL": the word of a program for no value`},
		{"general.payment_id", "nullable", ""},
		{"account.number", "9.96555E+11", `account.number "9.9***11": ` + power},
		{"account.number", "996555123456.0", "a spreadsheet made a decimal number of this"},
		{"account.bank_code", "оptima", "character 1 is a Cyrillic letter in a Latin word"},
		{"account.bank_code", "optma", `warning: line 2: account.bank_code "optma": did you mean optima? It is not among the known banks`},
		{"account.bank_code", "demir", `warning: line 2: account.bank_code "demir": not among the known banks`},
		{"customer.first_name", "РђР№РЅСѓСЂР°", "the text was read as windows-1251 on its way"},
		{"customer.first_name", "JosÃ©", "the text was read as windows-1252 on its way"},
		{"customer.first_name", "GÃ¼lnaz", "the text was read as windows-1252 on its way"},
		{"customer.first_name", "Айнура", ""},
		{"customer.first_name", "Өмүрбек", ""},
		{"customer.first_name", "Núñez", ""},
		{"customer.first_name", "Ñusta", ""},
		{"customer.first_name", "?????", `customer.first_name "?????": only question marks`},
		{"customer.first_name", "Null", "warning: line 2: customer.first_name is null: is it a value?"},
		{"customer.first_name", "Nan", "warning: line 2: customer.first_name is nan: is it a value?"},
		{"customer.first_name", "Nanette", ""},
		{"customer.last_name", "Aсanov", "warning: line 2: customer.last_name character 2 is a Cyrillic letter"},
		{"customer.last_name", "#REF!", "an error of a spreadsheet's formula"},
		{"customer.last_name", "=HYPERLINK(1)", "warning: line 2: customer.last_name begins like a formula"},
		{"customer.last_name", "-Asanov", "warning: line 2: customer.last_name begins like a formula"},
		{"customer.id", "undefined", "the word of a program for no value"},
		{"method", "sbp", `method "sbp": payment method is not available: e.g. sbp-p2p, card`},
		{"method", "sbp-р2p", "character 5 is a Cyrillic letter in a Latin word"},
		{"payment.amount", "1 000,00", `payment.amount "1 000,00": whole minor units, without spaces: 100000 if this is 1,000.00 KGS; masspay does not convert amounts`},
		{"payment.amount", "1.000,50", `payment.amount "1.000,50": whole minor units: 100050 if this is 1,000.50 KGS`},
		{"payment.amount", "1,000", "whole minor units, without separators: 100000 if this is 1,000.00 KGS, 1000 if this is 10.00 KGS"},
		{"payment.amount", "1\u00a0000", `payment.amount "1\u00a0000": whole minor units, without the no-break spaces: 1000 if this is 10.00 KGS`},
		{"payment.amount", "12.5", "whole minor units: 1250 if this is 12.50 KGS"},
		{"payment.amount", "12.505", "whole minor units, without separators: 1250500 if this is 12,505.00 KGS, 12505 if this is 125.05 KGS"},
		{"payment.amount", "1.2E+05", power},
		{"payment.amount", "1,00,000", "whole minor units (cents and the like), digits only"},
	} {
		columns := strings.Split(strings.TrimSpace(header), ";")
		cells := strings.Split(strings.TrimSpace(line("p1", 100, 20)), ";")
		for i, c := range columns {
			if c == tt.column {
				cells[i] = tt.is
			}
		}
		got := found(t, header+strings.Join(cells, ";")+"\n")
		name := tt.column + " " + tt.is
		if tt.says == "" {
			require.Empty(t, got, name)
			continue
		}
		require.Contains(t, got, tt.says, name)
		require.Equal(t, 1, strings.Count(got, "line 2"), "%s: one cause is one problem: %s", name, got)
	}
}

// A column whose long numbers all end with zeros was in a spreadsheet.
func TestFifteenDigits(t *testing.T) {
	t.Parallel()
	rows := func(n int, id string) (text string) {
		text = header
		for i := range n {
			text += line(fmt.Sprintf("%014d%s", 91820000000001+i, id), 100, 20+i)
		}
		return text
	}
	require.Empty(t, found(t, rows(6, "0")), "15 digits are all there")
	require.Contains(t, found(t, rows(5, "100")), `line 2: general.payment_id: all 5 numbers of 16 digits and more end with zeros`)
	require.Contains(t, found(t, rows(4, "100")), `warning: line 2: general.payment_id: a spreadsheet keeps 15 digits`)
	require.Empty(t, found(t, rows(5, "100")+line("9182000000000111", 100, 30)))
}

// A header that is nearly right, or not where it should be, is named for that.
func TestHeadersThatAreNearlyRight(t *testing.T) {
	t.Parallel()
	good := line("p1", 100, 20)
	for _, tt := range []struct{ name, text, says string }{
		{"capitals", strings.ToUpper(header) + good, "line 1: the names of 13 columns have capital letters: write operation_type, and the others alike"},
		{"one capital", strings.Replace(header, "customer.id", "Customer.Id", 1) + good, "line 1: the name of column customer.id has capital letters: write it as it is here"},
		{"spaces", strings.ReplaceAll(header, ";", "; ") + good, "line 1: the names of 12 columns have spaces around them: write general.project_id, and the others alike"},
		{"what cannot be seen", strings.Replace(header, "customer.id", "customer.id\u200b", 1) + good, "line 1: the name of column customer.id has characters that cannot be seen"},
		{"a title", "Payroll;;;\n\n" + header + good, "line 1: this is no header: the header is on line 3; delete what is above it"},
		{"sep", "sep=;\r\n" + header + good, "line 1: this is sep=;, a line for a spreadsheet that the format does not have: delete it; the header is on line 2"},
		{"sep and a mark", "\ufeff\"SEP=,\"\n" + header + good, "line 1: this is sep=,,"},
		{"a cell a line", `"` + strings.TrimSpace(header) + "\"\n\"" + strings.TrimSpace(good) + "\"\n", "line 1: each line is one cell in quotes: export it again with the columns divided by ';'"},
		{"a second header", header + good + header + line("p2", 100, 20), "line 3: this is a second header: delete it"},
		{"no header", good + line("p2", 100, 20), "line 1: the first line has no column names"},
	} {
		require.Equal(t, tt.says, found(t, tt.text)[:min(len(tt.says), len(found(t, tt.text)))], tt.name)
		require.Equal(t, 1, strings.Count(found(t, tt.text)+"\n", "\n"), "%s: %s", tt.name, found(t, tt.text))
	}
}

// A row whose cells are moved by one place has one problem.
func TestShiftedCells(t *testing.T) {
	t.Parallel()
	cells := func() []string { return strings.Split(strings.TrimSpace(line("p2", 100, 21)), ";") }
	row := func(cells []string) string { return strings.Join(cells, ";") + "\n" }
	right := append(append(cells()[:6:6], ""), cells()[6:12]...)
	left := append(append(cells()[:6:6], cells()[7:]...), "")
	for _, tt := range []struct{ name, row, says string }{
		{"to the right", row(right), "line 3: the cells from account.number on are one place too far to the right: move them back"},
		{"to the left, with the account lost", row(left), "line 3: account.number"},
	} {
		got := found(t, header+line("p1", 100, 20)+tt.row)
		require.Contains(t, got, tt.says, tt.name)
	}
	require.NotContains(t, found(t, header+strings.Replace(line("p1", 100, 20), ";100;", ";;", 1)), "one place too far")
}

// Rows with nothing in them are left out at the end, and a problem before it, wherever a
// piece ends.
func TestEmptyRows(t *testing.T) {
	t.Parallel()
	empty := strings.Repeat(";", 12) + "\n"
	for _, n := range []int{1, 3, 40_000} {
		text := header + line("p1", 100, 20) + line("p2", 100, 21)
		tail := strings.Repeat(empty, n)
		c := checker(t)
		in := input(t, "file.csv", text+tail)
		k, err := c.Check(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, 2, k.Rows)
		require.Len(t, k.Warnings, 1)
		l, err := k.Load(t.Context(), whole(c), in, nil)
		require.NoError(t, err)
		require.Equal(t, 2, l.Batch.Rows)
		var out strings.Builder
		sum, err := result.Report{}.To(t.Context(), whole(c), l.Batch, &out)
		require.NoError(t, err)
		require.Equal(t, 2, sum.Rows)

		_, err = checker(t).Check(t.Context(), input(t, "file.csv", text+tail+line("p3", 0, 22)))
		var refused *payfile.FileError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, n+1, refused.Count)
		require.Len(t, refused.Problems, 2)
		require.Equal(t, n, refused.Problems[0].Rows())

		c = checker(t)
		c.Skip = true
		in = input(t, "file.csv", text+tail+line("p3", 100, 22)+tail)
		k, err = c.Check(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, 3+n, k.Rows)
		require.Equal(t, n, k.Skipped)
		l, err = k.Load(t.Context(), whole(c), in, nil)
		require.NoError(t, err)
		require.Equal(t, 3+n, l.Batch.Rows)
		require.Equal(t, n, l.Batch.Skipped)
	}
	require.Contains(t, found(t, header+line("p1", 100, 20)+";;;\n"), "warning: the last rows (line 3) have nothing in them")
}

// Rows that look like another one are told, and never dropped.
func TestLookalikes(t *testing.T) {
	t.Parallel()
	like := func(id, to string, minor int) string {
		return strings.Replace(line(id, minor, 20), "996555123420", to, 1)
	}
	skrill := func(id, to string) string { return strings.Replace(like(id, to, 100), "sbp-p2p", "skrill", 1) }
	check := func(l payfile.Lookalikes, text string) (*payfile.Checked, error) {
		c := checker(t)
		c.Lookalikes = l
		return c.Check(t.Context(), input(t, "file.csv", text))
	}
	both := payfile.Lookalikes{Twins: payfile.Warn, IDs: payfile.Warn}
	for _, tt := range []struct{ name, text, says string }{
		{"twins", like("a", "996555123420", 100) + like("b", "996555123420", 100), "line 3: the same amount to the same account as on line 2"},
		{"twins written otherwise", skrill("a", "AB-12 3456") + skrill("b", "ab123456"), "line 3: the same amount to the same account as on line 2"},
		{"another amount", like("a", "996555123420", 100) + like("b", "996555123420", 101), ""},
		{"another account", like("a", "996555123420", 100) + like("b", "996555123421", 100), ""},
		{"leading zeros", like("007", "996555123420", 1) + like("7", "996555123421", 1), "line 3: the id differs from that of line 2 only by zeros, capitals or what cannot be seen"},
		{"leading zeros, the other way", like("inv-7", "996555123420", 1) + like("inv-0007", "996555123421", 1), "line 3: the id differs"},
		{"capitals", like("INV-1", "996555123420", 1) + like("Inv-1", "996555123421", 1), "line 3: the id differs"},
		{"composed or not", like("caf\u00e9", "996555123420", 1) + like("cafe\u0301", "996555123421", 1), "line 3: the id differs"},
		{"zeros that count", like("100", "996555123420", 1) + like("10", "996555123421", 1) + like("0.5", "996555123422", 1) + like("a0b", "996555123423", 1) + like("ab", "996555123424", 1), ""},
	} {
		k, err := check(both, header+tt.text)
		require.NoError(t, err, tt.name)
		if tt.says == "" {
			require.Empty(t, k.Alike, tt.name)
			continue
		}
		require.Len(t, k.Alike, 1, tt.name)
		require.Contains(t, fmt.Sprint(k.Warnings), tt.says, tt.name)
		k, err = check(payfile.Lookalikes{}, header+tt.text)
		require.NoError(t, err)
		require.Empty(t, k.Alike, "it is off")
	}

	many := header
	for i := range 30 {
		many += like(fmt.Sprintf("m-%d", i), "996555123420", 100)
	}
	k, err := check(both, many)
	require.NoError(t, err)
	require.Len(t, k.Alike, 29)
	require.Len(t, k.Warnings, 1)
	require.Contains(t, k.Warnings[0].String(), "29 rows look like another one (lines 3 to 31)")

	refuse := payfile.Lookalikes{Twins: payfile.Refuse, IDs: payfile.Warn}
	_, err = check(refuse, many)
	require.Contains(t, problemsOf(t, err), "29 problems")
	refuse.Accept = 28
	_, err = check(refuse, many)
	require.Contains(t, problemsOf(t, err), "28 look-alikes were accepted (--accept-lookalikes), the file has 29")
	refuse.Accept = 29
	k, err = check(refuse, many)
	require.NoError(t, err)
	require.Len(t, k.Alike, 29)
}
