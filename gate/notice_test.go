package gate

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
)

// keys has one project, whose key is being rotated.
type keys struct{}

func (keys) Signing(project uint32) (Secret, bool) {
	return testSecret, project == 1234
}

func (keys) Accepted(project uint32) []Secret {
	if project != 1234 {
		return nil
	}
	return testSecrets
}

var (
	testSecret  = NewSecret("secret")
	testSecrets = []Secret{testSecret, NewSecret("old-secret")}
)

// callback is a signed callback of a paid payout; change replaces values by
// their dotted path.
func callback(change map[string]any) []byte { return signedWith("secret", body(change)) }

func body(change map[string]any) map[string]any {
	b := map[string]any{
		"project_id": 1234,
		"payment": map[string]any{
			"id": "p1", "type": "payout", "status": "success", "method": "SBP P2P transfer",
			"sum": map[string]any{"amount": 100000, "currency": "KGS"}, "description": "",
		},
		"customer": map[string]any{"id": "c-1"},
		"operation": map[string]any{
			"id": json.Number("1234567890123456"), "type": "payout", "status": "success", "request_id": "r-1",
			"code": "0", "message": "Success", "provider": map[string]any{"id": 12345, "payment_id": "prov-1"},
		},
	}
	for path, v := range change {
		at := b
		names := strings.Split(path, ".")
		for _, n := range names[:len(names)-1] {
			if _, ok := at[n]; !ok {
				at[n] = map[string]any{}
			}
			at = at[n].(map[string]any)
		}
		if v == nil {
			delete(at, names[len(names)-1])
			continue
		}
		at[names[len(names)-1]] = v
	}
	return b
}

func signedWith(key string, b map[string]any) []byte {
	b = maps.Clone(b)
	unsigned, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	canonical, err := Canonical(unsigned)
	if err != nil {
		panic(err)
	}
	b["signature"] = NewSecret(key).Sign(canonical)
	signed, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	return signed
}

func TestParseCallbackReads(t *testing.T) {
	t.Parallel()
	want := Notice{
		Key: payout.Key{ProjectID: 1234, PaymentID: "p1"}, Type: "payout", Reported: payout.Reported{Status: "success", Amount: payout.Amount{Minor: 100000, Currency: "KGS"}, Code: "0", Message: "Success", OperationID: "1234567890123456", ProviderPaymentID: "prov-1", RequestID: "r-1"}, Customer: "c-1",
		OperationStatus: "success",
		Operations:      []payout.Operation{{ID: "1234567890123456", Provider: "prov-1", Amount: payout.Amount{Minor: 100000, Currency: "KGS"}}},
	}
	for name, b := range map[string][]byte{
		"as documented":       callback(nil),
		"old key":             signedWith("old-secret", body(nil)),
		"numbers as strings":  callback(map[string]any{"project_id": "1234", "payment.sum.amount": "100000"}),
		"strings as numbers":  callback(map[string]any{"operation.code": 0}),
		"more than is known":  callback(map[string]any{"clarification_fields": map[string]any{}, "x": []any{1, map[string]any{"y": nil}}}),
		"status in big words": callback(map[string]any{"payment.status": "Success"}),
	} {
		n, err := ParseCallback(b, keys{})
		require.NoError(t, err, name)
		require.Equal(t, want, n, name)
	}
}

func TestParseCallbackAcceptsTheSignatureInGeneral(t *testing.T) {
	t.Parallel()
	b := body(nil)
	unsigned, _ := json.Marshal(b)
	canonical, err := Canonical(unsigned)
	require.NoError(t, err)
	b["general"] = map[string]any{"signature": NewSecret("secret").Sign(canonical)}
	signed, _ := json.Marshal(b)
	_, err = ParseCallback(signed, keys{})
	require.NoError(t, err)
}

func TestParseCallbackAcceptsFourOrders(t *testing.T) {
	t.Parallel()
	// These names sort differently in all four orders.
	b := body(map[string]any{"n2": 1, "n10": 2, "n": map[string]any{"z": 1}, "n-1": 3, "a:b": 4, "a": map[string]any{"c": 5}})
	unsigned, _ := json.Marshal(b)
	d, err := parseDocument(string(unsigned))
	require.NoError(t, err)
	strings := map[string]bool{}
	for i, order := range orders {
		canonical := d.canonical(order)
		strings[canonical] = true
		b["signature"] = NewSecret("secret").Sign(canonical)
		signed, _ := json.Marshal(b)
		_, err = ParseCallback(signed, keys{})
		require.NoError(t, err, "order %d", i)
	}
	require.GreaterOrEqual(t, len(strings), 3, "the orders must differ, or this shows nothing")
}

func TestParseCallbackRefuses(t *testing.T) {
	t.Parallel()
	good := callback(nil)
	twice := []byte(strings.Replace(string(good), `"status":"success","sum"`, `"status":"success","status":"decline","sum"`, 1))
	for name, tt := range map[string]struct {
		body []byte
		want error
	}{
		"no signature":        {mustJSON(body(nil)), ErrSignature},
		"empty signature":     {mustJSON(body(map[string]any{"signature": ""})), ErrSignature},
		"another key":         {signedWith("guessed", body(nil)), ErrSignature},
		"amount changed":      {[]byte(strings.Replace(string(good), "100000", "100001", 1)), ErrSignature},
		"status changed":      {[]byte(strings.Replace(string(good), `"success"`, `"decline"`, 1)), ErrSignature},
		"other project":       {callback(map[string]any{"project_id": 9}), ErrProject},
		"no project":          {callback(map[string]any{"project_id": nil}), ErrMalformed},
		"project as fraction": {callback(map[string]any{"project_id": 1234.5}), ErrMalformed},
		"no payment id":       {callback(map[string]any{"payment.id": nil}), ErrMalformed},
		"doubled name":        {twice, ErrMalformed},
		"not JSON":            {[]byte("status=success"), ErrMalformed},
		"empty":               {nil, ErrMalformed},
	} {
		_, err := ParseCallback(tt.body, keys{})
		require.ErrorIs(t, err, tt.want, name)
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func TestNoticeMeaning(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  map[string]any
		kind    payout.Kind
		outcome payout.State
	}{
		{"paid", nil, payout.Final, payout.StatePaid},
		{"paid without an operation", map[string]any{"operation": nil}, payout.Final, payout.StatePaid},
		{"success of a declined operation", map[string]any{"operation.status": "decline", "operation.code": "20000"}, payout.Progress, 0},
		{"success with a code and no status", map[string]any{"operation.status": nil, "operation.code": "20000"}, payout.Progress, 0},
		{"success with another code", map[string]any{"operation.code": "20000"}, payout.Progress, 0},
		{"partly", map[string]any{"payment.status": "partially_paid_out"}, payout.Final, payout.StatePartial},
		{"partly, with spaces", map[string]any{"payment.status": "partially paid out"}, payout.Final, payout.StatePartial},
		{"declined", map[string]any{"payment.status": "decline"}, payout.Final, payout.StateDeclined},
		{"reversed", map[string]any{"payment.status": "reversed"}, payout.Final, payout.StateReturned},
		{"error", map[string]any{"payment.status": "error", "operation.code": "2609"}, payout.Final, payout.StateRejected},
		{"exists", map[string]any{"payment.status": "error", "operation": nil, "errors": []any{map[string]any{"code": 3041}}}, payout.Taken, 0},
		{"error with 3061", map[string]any{"payment.status": "error", "operation.code": "3061"}, payout.Silent, 0},
		{"error with 3062", map[string]any{"payment.status": "error", "operation.code": "3062"}, payout.Silent, 0},
		{"processing", map[string]any{"payment.status": "processing"}, payout.Progress, 0},
		{"awaiting retry", map[string]any{"payment.status": "awaiting retry"}, payout.Progress, 0},
		{"awaiting clarification", map[string]any{"payment.status": "awaiting clarification"}, payout.Progress, 0},
		{"awaiting approval", map[string]any{"payment.status": "awaiting_approval"}, payout.Progress, 0},
		{"a word in no list", map[string]any{"payment.status": "failed"}, payout.Unlisted, 0},
		{"refunded", map[string]any{"payment.status": "partially refunded"}, payout.Unlisted, 0},
		{"expired", map[string]any{"payment.status": "expired"}, payout.Lapsed, 0},
		{"internal error", map[string]any{"payment.status": "internal error"}, payout.Lapsed, 0},
		{"regrouped", map[string]any{"payment.description": "x;payment:sum:amount:1"}, payout.PollDue, 0},
		{"regrouped in a name", map[string]any{"x;payment": map[string]any{"status": "success"}}, payout.PollDue, 0},
		{"a semicolon alone", map[string]any{"payment.description": "for rent; payment: May"}, payout.Final, payout.StatePaid},
		{"no word", map[string]any{"payment.status": nil}, payout.Progress, 0},
		{"a purchase", map[string]any{"payment.type": "purchase"}, payout.Irrelevant, 0},
		{"no type", map[string]any{"payment.type": nil}, payout.Irrelevant, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, err := ParseCallback(callback(tt.change), keys{})
			require.NoError(t, err)
			e := n.Event(payout.FromCallback, "", time.Time{})
			require.Equal(t, tt.kind, e.Kind)
			require.Equal(t, tt.outcome, e.Outcome)
		})
	}
}

// Which operations of a body speak of money, by what amount, and made when.
func TestNoticeOperations(t *testing.T) {
	t.Parallel()
	op := func(id, status, kind string, minor any) map[string]any {
		return map[string]any{
			"id": id, "type": kind, "status": status, "created_date": "2026-11-02T02:15:00Z",
			"sum_initial": map[string]any{"amount": minor, "currency": "KGS"}, "provider": map[string]any{"payment_id": "p-" + id},
		}
	}
	n, err := ParseCallback(callback(map[string]any{"operation": nil, "operations": []any{
		op("1", "decline", "payout", 100000), op("2", "success", "payout", 60000), op("3", "success", "reversal", 60000),
		op("4", "success", "payout", "40000"), op("5", "processing", "payout", 1),
	}}), keys{})
	require.NoError(t, err)
	made := time.Date(2026, 11, 2, 2, 15, 0, 0, time.UTC)
	require.Equal(t, []payout.Operation{
		{ID: "2", Provider: "p-2", Made: made, Amount: payout.Amount{Minor: 60000, Currency: "KGS"}},
		{ID: "4", Provider: "p-4", Made: made, Amount: payout.Amount{Minor: 40000, Currency: "KGS"}},
	}, n.Operations)
	require.Equal(t, made, n.Made)
	for _, date := range []string{"2026-11-02T02:15:00+0000", "2026-11-02T02:15:00+00:00", "2026-11-02T02:15:00Z", "2026-11-02T08:15:00+0600"} {
		require.Equal(t, made, timeOf(date), date)
	}
	require.Zero(t, timeOf("yesterday"))
	n, err = ParseCallback(callback(map[string]any{"payment.type": "purchase"}), keys{})
	require.NoError(t, err)
	require.Empty(t, n.Operations)
}

func TestNoticeAmountThatIsNone(t *testing.T) {
	t.Parallel()
	for _, v := range []any{"1000.00", 1000.5, "abc", -5, "1e5"} {
		n, err := ParseCallback(callback(map[string]any{"payment.sum.amount": v}), keys{})
		require.NoError(t, err)
		require.EqualValues(t, -1, n.Amount.Minor, v)
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	require.Len(t, codes(), 378)
	for c, want := range map[string]Group{
		"0": GroupOK, "9999": GroupWait, "3062": GroupWait, "20801": GroupCheck, "314": GroupTemporary, "20000": GroupUnclear,
		"20101": GroupLimit, "20102": GroupFixRow, "2004": GroupFixRequest, "3041": GroupDuplicate, "3261": GroupStop,
		"504": GroupBalance, "1401": GroupNever, "1434": GroupDuplicate, "123456": GroupOther, "": GroupOther,
	} {
		require.Equal(t, want, GroupOf(c), c)
	}
}

func FuzzParseCallback(f *testing.F) {
	f.Add(callback(nil))
	f.Add(mustJSON(body(nil)))
	page, err := os.ReadFile("testdata/signature_vectors.json")
	require.NoError(f, err)
	var vs []vector
	require.NoError(f, json.Unmarshal(page, &vs))
	for _, v := range vs {
		f.Add([]byte(v.Input))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseCallback(b, keys{})
		if err == nil {
			require.NotEmpty(t, n.Key.PaymentID)
			return
		}
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrProject) && !errors.Is(err, ErrSignature) {
			t.Fatalf("unclassified error %v", err)
		}
	})
}
