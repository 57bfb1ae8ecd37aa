package payfile_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"masspay/docs/docstest"
	"masspay/gate"
)

// The tables of docs/reference/file-format.md are those of the code: go test ./batch/payfile -run
// TestFileFormat -update writes them.
func TestFileFormat(t *testing.T) {
	t.Parallel()
	const path = "../../docs/reference/file-format.md"
	docstest.Section(t, path, "methods", methodTable())
	docstest.Section(t, path, "columns", columnTable())
}

// filledIn are the columns that masspay fills in: they are in no file.
var filledIn = []string{"general.signature"}

func methodTable() string {
	var s strings.Builder
	s.WriteString("| `method` | columns that must be filled in, beside `operation_type` and `method` | currency | `account.bank_code` |\n|---|---|---|---|\n")
	for _, name := range gate.Methods() {
		m := gate.LookupMethod(strings.ReplaceAll(name, "<name>", "name"))
		var required []string
		for _, f := range m.Required() {
			if !slices.Contains(filledIn, f) {
				required = append(required, "`"+f+"`")
			}
		}
		slices.Sort(required)
		banks := "not checked"
		if len(m.Banks) > 0 {
			banks = "`" + strings.Join(m.Banks, "`, `") + "`"
		}
		if m.Fields["account.bank_code"] == nil {
			banks = "no such column"
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s | %s |\n", name, strings.Join(required, ", "), cmp.Or(m.Currency, "any"), banks)
	}
	return s.String()
}

// columnTable lists the columns that most methods know, with what a cell may hold.
func columnTable() string {
	names := gate.Methods()
	known := map[string]int{}
	sample := map[string]*gate.Field{}
	for _, name := range names {
		for path, f := range gate.LookupMethod(strings.ReplaceAll(name, "<name>", "name")).Fields {
			known[path]++
			sample[path] = f
		}
	}
	var s strings.Builder
	s.WriteString("| column | a cell | methods that know it |\n|---|---|---|\n")
	for _, path := range gate.Columns() {
		f := sample[path]
		if f == nil || slices.Contains(filledIn, path) {
			continue
		}
		how := fmt.Sprintf("%d", known[path])
		if known[path] == len(names) {
			how = "all"
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s |\n", path, cellOf(f), how)
	}
	return s.String()
}

func cellOf(f *gate.Field) string {
	parts := []string{string(f.Type)}
	if f.Maximum != nil {
		parts = append(parts, fmt.Sprintf("up to %d", *f.Maximum))
	}
	if f.MaxLength > 0 {
		parts = append(parts, fmt.Sprintf("up to %d characters", f.MaxLength))
	}
	if f.Format != "" {
		parts = append(parts, f.Format)
	}
	if len(f.Enum) > 0 {
		parts = append(parts, "one of "+strings.Join(f.Enum, ", "))
	}
	return strings.Join(parts, ", ")
}
