package gate

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"masspay/payout"
)

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]string{
		"sbp-p2p": "/v2/payment/sbp-p2p/payout", "banks/vietnam": "/v2/payment/banks/vietnam/payout",
		"unify/a/b": "/v2/payment/unify/a/b/payout", "card-token": "/v2/payment/card/payout/token",
	} {
		got, err := Endpoint(method)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, method := range []string{"", "..", "../x", "a/../b", "a//b", "/a", "a/", "a/b/c/d", "A", "a b", "a?b", "a#b", "a%2fb", "a\\b", "é", "a.b"} {
		_, err := Endpoint(method)
		require.Error(t, err, method)
	}
}

func TestEveryMethodOfTheTableHasAComposer(t *testing.T) {
	t.Parallel()
	require.Len(t, Methods(), 31)
	for endpoint, m := range table() {
		for path, f := range m.Fields {
			require.Contains(t, []Type{String, Integer, Boolean, Object}, f.Type, "%s %s", endpoint, path)
		}
		require.Subset(t, m.Required(), []string{"general.project_id", "general.payment_id", "payment.amount", "payment.currency"})
	}
	require.NotNil(t, LookupMethod("banks/anything"))
	require.NotNil(t, LookupMethod("card-token"))
	require.Nil(t, LookupMethod("unheard-of"))
	require.Nil(t, LookupMethod("banks"))
	require.Contains(t, LookupMethod("sbp-p2p").Required(), "customer.email", "required by the method's page, not by the API description")
}

func TestComposeTypes(t *testing.T) {
	t.Parallel()
	columns := []string{"general.payment_id", "account.bank_id", "account.number", "account.save", "payment.amount", "general.project_id", "payment.currency", "customer.id", "method", "operation_type"}
	c, err := NewComposer("asian-banks", columns)
	require.NoError(t, err)
	d := c.Draft(payout.Key{ProjectID: 1234, PaymentID: "007"}, []string{"007", "12", "00123", "true", "5", "1234", "KGS", "", "asian-banks", "payout"})
	require.Equal(t, "account:bank_id:12;account:number:00123;account:save:1;general:payment_id:007;general:project_id:1234;payment:amount:5;payment:currency:KGS", d.Canonical())
	require.JSONEq(t, `{"account":{"bank_id":12,"number":"00123","save":true},"payment":{"amount":5,"currency":"KGS"},"general":{"payment_id":"007","project_id":1234,"signature":"`+NewSecret("k").Sign(d.Canonical())+`"}}`, string(d.Signed(NewSecret("k"))))
}

func TestComposeRefusesColumnsInEachOthersWay(t *testing.T) {
	t.Parallel()
	for _, columns := range [][]string{{"a", "a.b"}, {"a.b", "a"}, {"a.b", "a.b.c"}} {
		_, err := NewComposer("card", columns)
		require.Error(t, err, columns)
	}
}

// What is signed is what the body says, whatever the cells are: the canonical
// string made from the cells equals the one made from the JSON.
func TestComposeAgreesWithCanonical(t *testing.T) {
	t.Parallel()
	all := Columns()
	rapid.Check(t, func(t *rapid.T) {
		method := rapid.SampledFrom([]string{"card", "sbp-p2p", "mobile", "banks/x", "unify/a/b", "pix"}).Draw(t, "method")
		columns := []string{"operation_type", "method", "general.project_id", "general.payment_id", "payment.amount"}
		for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 30, rapid.ID).Draw(t, "columns") {
			if c != "general.signature" && c != "payment_data" && c != "general.project_id" && c != "general.payment_id" && c != "payment.amount" {
				columns = append(columns, c)
			}
		}
		c, err := NewComposer(method, columns)
		require.NoError(t, err)
		cells := make([]string, len(columns))
		for i := range columns {
			switch c.kindForTest(i) {
			case Integer:
				cells[i] = rapid.SampledFrom([]string{"", "1", "1234", "999999999"}).Draw(t, "integer")
			case Boolean:
				cells[i] = rapid.SampledFrom([]string{"", "true", "false"}).Draw(t, "boolean")
			default:
				cells[i] = rapid.String().Draw(t, "cell")
			}
		}
		cells[0], cells[1], cells[2], cells[4] = "payout", method, "1234", "5"
		d := c.Draft(payout.Key{}, cells)
		signed := d.Signed(NewSecret("k"))
		canonical, err := Canonical(signed)
		require.NoError(t, err, "%s", signed)
		require.Equal(t, canonical, d.Canonical())
		var body struct {
			General struct {
				Signature string `json:"signature"`
			} `json:"general"`
		}
		require.NoError(t, json.Unmarshal(signed, &body))
		require.Equal(t, NewSecret("k").Sign(canonical), body.General.Signature)
	})
}

func (c *Composer) kindForTest(i int) Type {
	if c.paths[i] == "" {
		return String
	}
	return c.kind(i)
}
