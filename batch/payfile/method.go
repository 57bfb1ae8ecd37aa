package payfile

import (
	"fmt"
	"slices"

	"masspay/gate"
	"masspay/payout"
)

// methodRules are the rules of one method in one file.
type methodRules struct {
	spec     *gate.Method
	composer *gate.Composer
	required []int         // columns that must not be empty
	columns  []columnRules // of the columns that are the method's own
	phone    int           // place of the account number that is a Kyrgyz phone number; -1: none
	bad      bool          // the method or the header cannot make its requests
}

// columnRules are what a cell of a column is held against.
type columnRules struct {
	place int
	name  string
	field *gate.Field // nil: the method does not document it
	phone bool
	kind  columnKind
	must  bool     // it must not be empty
	banks []string // known ones; empty: any
}

// method returns the rules of a row's method, nil when it is none.
func (r *rules) method(line int, v string) *methodRules {
	if m := r.methods[v]; m != nil {
		return m
	}
	spec := gate.LookupMethod(v)
	if spec == nil {
		r.problem(line, gate.ColMethod, v, unknownMethod(v))
		return nil
	}
	m := &methodRules{spec: spec, phone: -1}
	r.methods[v] = m
	composer, err := gate.NewComposer(v, r.columns)
	if err != nil {
		m.bad = true
		r.problems.add(Problem{Line: 1, Text: err.Error(), structure: true, once: v})
		return m
	}
	m.composer = composer
	for _, path := range spec.Required() {
		if slices.Contains(baseColumns, path) {
			continue
		}
		i := slices.Index(r.columns, path)
		if i < 0 {
			m.bad = true
			r.problems.add(Problem{Line: 1, Column: path, structure: true, once: v + " needs " + path,
				Text: fmt.Sprintf("the column is missing: method %s needs it (first on line %d)", v, line)})
			continue
		}
		m.required = append(m.required, i)
	}
	for i, path := range r.columns {
		f := composer.Field(i)
		if f != nil && f.Type == gate.Object {
			m.bad = true
			r.problems.add(Problem{Line: 1, Column: path, Text: "the field is an object and cannot be written in one cell: remove the column", structure: true, once: v + " has " + path})
		}
		if slices.Contains(baseColumns, path) {
			continue
		}
		c := columnRules{place: i, name: path, field: f, phone: phoneColumn(path), kind: kindOf(path), must: slices.Contains(m.required, i)}
		if path == gate.ColBank {
			c.banks = spec.Banks
		}
		m.columns = append(m.columns, c)
	}
	if v == "sbp-p2p" {
		m.phone = slices.Index(r.columns, gate.ColAccount)
	}
	return m
}

// fields checks the cells that the method's own fields are made from.
func (r *rules) fields(in row, m *methodRules) {
	for _, i := range m.required {
		if in.cells[i] == "" {
			r.problem(in.line, r.columns[i], "", fmt.Sprintf("empty: method %s needs it", in.Method))
		}
	}
	for i := range m.columns {
		c := &m.columns[i]
		v := in.cells[c.place]
		if v == "" {
			continue
		}
		if text := unsafe(v); text != "" {
			r.problem(in.line, c.name, v, text)
			continue
		}
		if r.suspect(in.line, c.name, v, c.kind, c.must) {
			continue
		}
		r.countLong(c.place, in.line, v)
		if c.field == nil && payout.SaysWhere(c.name) {
			r.problem(in.line, c.name, v, fmt.Sprintf("method %s does not know this field, and it would say where the money goes: empty it, or use another method", in.Method))
			continue
		}
		if c.field == nil {
			r.warnings.add(in.line, fmt.Sprintf("%s: method %s does not document this field; it is sent as it is", c.name, in.Method))
			continue
		}
		if text := c.check(v); text != "" {
			r.problem(in.line, c.name, v, text)
			continue
		}
		if spaced(v) {
			r.warnings.add(in.line, c.name+": spaces around the value are sent as they are")
		}
		if len(c.banks) > 0 && !slices.Contains(c.banks, v) {
			r.warnings.add(in.line, fmt.Sprintf("%s %q: %s", c.name, v, unknownBank(v, c.banks)))
		}
	}
	if m.phone >= 0 {
		r.kyrgyzPhone(in.line, in.cells[m.phone])
	}
}
