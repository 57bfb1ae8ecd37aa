package payfile_test

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"masspay/batch/payfile"
	"masspay/store"

	"github.com/stretchr/testify/require"
)

func project1234(p uint32) bool { return p == 1234 }

const header = "operation_type;general.project_id;method;general.payment_id;payment.amount;payment.currency;account.number;account.bank_code;customer.id;customer.ip_address;customer.first_name;customer.last_name;customer.email\n"

// line is a row whose destination ends in two digits, which say what the
// simulator makes of it.
func line(id string, minor int, suffix int) string {
	return fmt.Sprintf("payout;1234;sbp-p2p;%s;%d;KGS;9965551234%02d;mbank;c-%s;198.51.100.7;Aibek;Asanov;aibek@example.com\n", id, minor, suffix, id)
}

// file is n rows, every one paid in the end.
func file(prefix string, n int) string {
	var b strings.Builder
	b.WriteString(header)
	for i := range n {
		b.WriteString(line(fmt.Sprintf("%s-%05d", prefix, i), 1000+i, 20+i%80))
	}
	return b.String()
}

func input(t *testing.T, name, text string) *payfile.Input {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	in, err := payfile.Open(path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = in.Close() })
	return in
}

func parse(t *testing.T, r io.Reader) []map[string]string {
	c := csv.NewReader(r)
	c.Comma = ';'
	all, err := c.ReadAll()
	require.NoError(t, err)
	rows := make([]map[string]string, 0, len(all))
	for _, record := range all[1:] {
		m := map[string]string{}
		for i, name := range all[0] {
			m[name] = record[i]
		}
		rows = append(rows, m)
	}
	return rows
}

// whole is the store that a check of a test asks.
func whole(c *payfile.Checker) store.Store {
	s, _ := c.Store.(store.Store)
	return s
}
