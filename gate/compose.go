package gate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"masspay/payout"
)

// The columns that every mass payment file has. The first two are not part of
// the request.
const (
	ColOperation = "operation_type"
	ColMethod    = "method"
	ColProject   = "general.project_id"
	ColPaymentID = "general.payment_id"
	ColAmount    = "payment.amount"
	ColCurrency  = "payment.currency"
	ColAccount   = "account.number"
	ColBank      = "account.bank_code"
)

// Composer turns the rows of one method in one file into requests. It is made
// once for a header and safe for concurrent use.
type Composer struct {
	endpoint string
	method   string
	fields   []*Field // by column; nil: the method does not know it
	sorted   []int    // columns in the natural order of their paths
	paths    []string // canonical path by column, "" for what is not sent
	root     *node
}

// node is a place in the JSON body: an object with children, or the leaf of a
// column.
type node struct {
	name     string
	column   int // -1: an object
	children []*node
}

// NewComposer prepares for a method and a file's columns. It fails when the
// method's name is not one, or when two columns cannot be in one body (as
// "a" and "a.b").
func NewComposer(method string, columns []string) (*Composer, error) {
	endpoint, err := Endpoint(method)
	if err != nil {
		return nil, err
	}
	c := &Composer{
		endpoint: endpoint, method: method,
		fields: make([]*Field, len(columns)), paths: make([]string, len(columns)),
		root: &node{column: -1},
	}
	spec := LookupMethod(method)
	general := &node{name: "general", column: -1}
	for i, path := range columns {
		if path == ColOperation || path == ColMethod {
			continue
		}
		if spec != nil {
			c.fields[i] = spec.Fields[path]
		}
		c.paths[i] = strings.ReplaceAll(path, ".", ":")
		c.sorted = append(c.sorted, i)
		at, segments := c.root, strings.Split(path, ".")
		if segments[0] == "general" && len(segments) > 1 {
			at, segments = general, segments[1:]
		}
		if err := at.insert(segments, i); err != nil {
			return nil, fmt.Errorf("column %s: %w", path, err)
		}
	}
	// The signature is the last thing made and is last.
	c.root.children = append(c.root.children, general)
	slices.SortFunc(c.sorted, func(a, b int) int { return compareNatural(c.paths[a], c.paths[b]) })
	return c, nil
}

func (n *node) insert(segments []string, column int) error {
	for _, child := range n.children {
		if child.name != segments[0] {
			continue
		}
		if len(segments) == 1 || child.column >= 0 {
			return fmt.Errorf("conflicts with another column")
		}
		return child.insert(segments[1:], column)
	}
	child := &node{name: segments[0], column: -1}
	n.children = append(n.children, child)
	if len(segments) == 1 {
		child.column = column
		return nil
	}
	return child.insert(segments[1:], column)
}

// Field is what the method says of a column, nil if it does not know it.
func (c *Composer) Field(column int) *Field { return c.fields[column] }

// Endpoint is the path that the method's payouts are posted to.
func (c *Composer) Endpoint() string { return c.endpoint }

// Draft is a payout request before it is signed.
type Draft struct {
	Key   payout.Key
	c     *Composer
	cells []string
	leave func()
}

// Draft binds a checked row to its method. The cells must be those of the
// header that the composer was made for; they are not copied.
func (c *Composer) Draft(key payout.Key, cells []string) Draft {
	return Draft{Key: key, c: c, cells: cells}
}

// OnLeave returns the draft with a function that Send calls when the limiter has
// let the request go, or when it will not.
func (d Draft) OnLeave(fn func()) Draft {
	d.leave = fn
	return d
}

// Endpoint is the path that the request is posted to.
func (d Draft) Endpoint() string { return d.c.endpoint }

// Method is the row's method.
func (d Draft) Method() string { return d.c.method }

// Canonical is the string that is signed: every sent cell as "path:value" in
// natural order of the paths. Empty cells are not sent.
func (d Draft) Canonical() string { return string(d.AppendCanonical(nil)) }

// AppendCanonical appends the canonical string to b.
func (d Draft) AppendCanonical(b []byte) []byte {
	first := true
	for _, i := range d.c.sorted {
		if d.cells[i] == "" {
			continue
		}
		if !first {
			b = append(b, ';')
		}
		first = false
		b = append(append(b, d.c.paths[i]...), ':')
		b = append(b, canonicalValue(d.c.kind(i), d.cells[i])...)
	}
	return b
}

func canonicalValue(t Type, cell string) string {
	if t == Boolean {
		if cell == "true" {
			return "1"
		}
		return "0"
	}
	return cell
}

func (c *Composer) kind(column int) Type {
	if f := c.fields[column]; f != nil {
		return f.Type
	}
	switch c.paths[column] {
	case "general:project_id", "payment:amount":
		return Integer
	}
	return String
}

// Signed returns the JSON body with its signature last in "general".
func (d Draft) Signed(key Secret) []byte {
	b := make([]byte, 0, 768)
	b = d.AppendCanonical(b)
	var signature [signatureSize]byte
	signed := string(key.sign(signature[:0], b))
	b, _ = d.append(b[:0], d.c.root, signed)
	return b
}

// append writes one object; it reports whether anything was in it.
func (d Draft) append(b []byte, n *node, signature string) ([]byte, bool) {
	start := len(b)
	b = append(b, '{')
	some := false
	for _, child := range n.children {
		before := len(b)
		if some {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), child.name...), '"', ':')
		wrote := false
		switch {
		case child.column < 0:
			sig := ""
			if n == d.c.root && child.name == "general" {
				sig = signature
			}
			b, wrote = d.append(b, child, sig)
		case d.cells[child.column] != "":
			b = d.appendValue(b, child.column)
			wrote = true
		}
		if !wrote {
			b = b[:before]
			continue
		}
		some = true
	}
	if signature != "" && n != d.c.root {
		if some {
			b = append(b, ',')
		}
		b = append(append(append(b, `"signature":"`...), signature...), '"')
		some = true
	}
	if !some {
		return b[:start], false
	}
	return append(b, '}'), true
}

func (d Draft) appendValue(b []byte, column int) []byte {
	cell := d.cells[column]
	switch d.c.kind(column) {
	case Integer, Boolean:
		return append(b, cell...)
	}
	return appendJSONString(b, cell)
}

const hexDigits = "0123456789abcdef"

func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// IntegerText reports whether a cell is an integer as JSON writes it.
func IntegerText(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == s
}
