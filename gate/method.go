package gate

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Type is the JSON type of a field.
type Type string

// The types. Whatever is neither an integer nor a boolean goes out as a string
// and keeps its leading zeros.
const (
	String  Type = "string"
	Integer Type = "integer"
	Boolean Type = "boolean"
	Object  Type = "object" // cannot be written in one cell
)

// Field is what the platform's API description says of one field of a payout
// request. Zero limits mean none; lengths are in characters.
type Field struct {
	Type      Type     `json:"type"`
	Required  bool     `json:"required"`
	MinLength int      `json:"minLength"`
	MaxLength int      `json:"maxLength"`
	Minimum   *int64   `json:"minimum"`
	Maximum   *int64   `json:"maximum"`
	Pattern   string   `json:"pattern"`
	Enum      []string `json:"enum"`
	Format    string   `json:"format"` // email, ip-address, pan, date-time, dateTime

	re *regexp.Regexp
}

// Matches reports whether a value fits the field's pattern, if it has one.
func (f *Field) Matches(s string) bool { return f.re == nil || f.re.MatchString(s) }

// Method is a way to pay out: an endpoint and its fields.
type Method struct {
	Endpoint string            // as /v2/payment/{...}/payout
	Fields   map[string]*Field // by dotted path
	Currency string            // the only one it pays in; empty: any
	Banks    []string          // known account.bank_code values; empty: any
}

// Required lists the paths that a request of the method must have, sorted.
func (m *Method) Required() []string {
	var req []string
	for path, f := range m.Fields {
		if f.Required && path != "general.signature" {
			req = append(req, path)
		}
	}
	slices.Sort(req)
	return req
}

//go:embed data/payout_fields.json
var fieldsJSON []byte

// table is the API description's payout endpoints. "{...}" in an endpoint
// is for one segment that the row's method fills.
var table = sync.OnceValue(func() map[string]*Method {
	var raw map[string]struct {
		Fields map[string]*Field `json:"fields"`
	}
	if err := json.Unmarshal(fieldsJSON, &raw); err != nil {
		panic(fmt.Sprintf("embedded field table: %v", err))
	}
	patterns := map[string]*regexp.Regexp{}
	methods := make(map[string]*Method, len(raw))
	for endpoint, r := range raw {
		for _, f := range r.Fields {
			if f.Type == "" {
				f.Type = Integer // account.bank_id, wherever the description forgets it
			}
			if f.Pattern != "" {
				if patterns[f.Pattern] == nil {
					patterns[f.Pattern] = regexp.MustCompile(f.Pattern)
				}
				f.re = patterns[f.Pattern]
			}
		}
		methods[endpoint] = &Method{Endpoint: endpoint, Fields: r.Fields}
	}
	// What the platform's page on payments by phone number in Kyrgyzstan says
	// beyond the API description: more required fields, one currency, four
	// banks that "may change without notice".
	if m := methods["/v2/payment/sbp-p2p/payout"]; m != nil {
		for _, path := range []string{
			"customer.id", "customer.ip_address", "customer.first_name", "customer.last_name",
			"customer.email", ColBank,
		} {
			m.Fields[path].Required = true
		}
		m.Currency = "KGS"
		m.Banks = []string{"bakai", "optima", "mbank", "other"}
	}
	return methods
})

// columns are all paths that any method knows.
var columns = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for _, m := range table() {
		for path := range m.Fields {
			all[path] = true
		}
	}
	return all
})

// KnownColumn reports whether any payout method has a field of that path.
func KnownColumn(path string) bool { return columns()[path] }

// Columns lists every path that any payout method knows, sorted.
func Columns() []string { return slices.Sorted(maps.Keys(columns())) }

var segment = regexp.MustCompile(`^[a-z0-9]+([_-][a-z0-9]+)*$`)

// Endpoint returns the path that a method's payouts are posted to. It fails
// for a method that is not one to three plain segments, so that no cell of a
// file can lead a request elsewhere.
func Endpoint(method string) (string, error) {
	parts := strings.Split(method, "/")
	if len(parts) > 3 {
		return "", fmt.Errorf("method %q has too many segments", method)
	}
	for _, p := range parts {
		if !segment.MatchString(p) {
			return "", fmt.Errorf("method %q is not a name such as sbp-p2p or banks/spei", method)
		}
	}
	if method == "card-token" {
		return "/v2/payment/card/payout/token", nil
	}
	return "/v2/payment/" + method + "/payout", nil
}

// LookupMethod finds a method of the API description. It returns nil for one
// that is not in it.
func LookupMethod(method string) *Method {
	endpoint, err := Endpoint(method)
	if err != nil {
		return nil
	}
	if m := table()[endpoint]; m != nil {
		return m
	}
	parts := strings.Split(method, "/")
	if len(parts) < 2 {
		return nil
	}
	template := "/v2/payment/" + parts[0] + "/{payment_method}"
	if len(parts) == 3 {
		template += "/{child_payment_method}"
	}
	return table()[template+"/payout"]
}

// Methods lists the methods of the API description as a file would write them,
// sorted, with <name> where a name of one's own goes.
func Methods() []string {
	names := make([]string, 0, len(table()))
	for endpoint := range table() {
		name := strings.TrimSuffix(strings.TrimPrefix(endpoint, "/v2/payment/"), "/payout")
		if name == "card/payout/token" {
			name = "card-token"
		}
		name = strings.NewReplacer("{payment_method}", "<name>", "{child_payment_method}", "<name>").Replace(name)
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
