package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"masspay/gate"
	"masspay/payout"
)

// columns are those of the files that are paid, as on the platform's page on
// payments by phone number in Kyrgyzstan.
var columns = []string{
	"operation_type", "general.project_id", "method", "general.payment_id", "payment.amount", "payment.currency", "account.number", "account.bank_code",
	"customer.id", "customer.ip_address", "customer.first_name", "customer.last_name", "customer.email",
}

// cells makes a row. Rows differ in everything that differs in real files.
func cells(n int) []string {
	banks := [...]string{"bakai", "optima", "mbank", "other"}
	names := [...]string{"Aibek", "Nurlan", "Gulnara", "Айгуль", "Bermet", "Данияр"}
	families := [...]string{"Asanov", "Bekov", "Сыдыкова", "Toktogulov", "Iskakova"}
	return []string{
		"payout", "1234", "sbp-p2p", fmt.Sprintf("night-%08d", n), fmt.Sprint(1_000 + n*7_919%5_000_000), "KGS",
		fmt.Sprintf("996%09d", 500_000_000+n*104_729%299_999_999), banks[n%len(banks)],
		fmt.Sprintf("cust-%06d", n%50_000), fmt.Sprintf("198.51.%d.%d", n>>8&255, n&255), names[n%len(names)], families[n%len(families)], fmt.Sprintf("user%08d@example.com", n),
	}
}

func writeFile(path string, first, rows int) error {
	return writeRows(path, rows, func(n int) []string { return cells(first + n) })
}

// writePayroll writes a file that pays the same people whenever it comes: each on an
// account of their own, by ids and amounts of the month.
func writePayroll(path string, month, people int) error {
	return writeRows(path, people, func(n int) []string {
		row := cells(n + month*people)
		row[6], row[8] = fmt.Sprintf("996%09d", 500_000_000+n*173), fmt.Sprintf("person-%07d", n)
		return row
	})
}

func writeRows(path string, rows int, cells func(n int) []string) error {
	return write(path, func(w *bufio.Writer) error {
		_, err := w.WriteString(strings.Join(columns, ";") + "\n")
		for n := 0; n < rows && err == nil; n++ {
			_, err = w.WriteString(strings.Join(cells(n), ";") + "\n")
		}
		return err
	})
}

// target is a request as vegeta takes it.
type target struct {
	Method string              `json:"method"`
	URL    string              `json:"url"`
	Body   []byte              `json:"body"`
	Header map[string][]string `json:"header"`
}

var header = map[string][]string{"Content-Type": {"application/json"}}

// writeTargets writes the same payouts as vegeta takes them, signed.
func writeTargets(path, base string, rows int) error {
	composer, err := gate.NewComposer("sbp-p2p", columns)
	if err != nil {
		return err
	}
	secret := gate.NewSecret("secret")
	return write(path, func(w *bufio.Writer) error {
		enc := json.NewEncoder(w)
		for n := range rows {
			row := cells(n)
			draft := composer.Draft(payout.Key{ProjectID: 1234, PaymentID: row[3]}, row)
			err := enc.Encode(target{Method: "POST", URL: base + draft.Endpoint(), Body: draft.Signed(secret), Header: header})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// writeCallbacks writes a callback for each payout, as vegeta takes them, signed.
func writeCallbacks(path, to string, first, rows int) error {
	secret := gate.NewSecret("secret")
	return write(path, func(w *bufio.Writer) error {
		enc := json.NewEncoder(w)
		for n := first; n < first+rows; n++ {
			body, err := callback(cells(n), n, secret)
			if err != nil {
				return err
			}
			if err := enc.Encode(target{Method: "POST", URL: to, Body: body, Header: header}); err != nil {
				return err
			}
		}
		return nil
	})
}

// callback is the platform's report that a row is paid, in the form and with the
// fields of its documentation.
func callback(row []string, n int, secret gate.Secret) ([]byte, error) {
	amount, err := strconv.ParseInt(row[4], 10, 64)
	if err != nil {
		return nil, err
	}
	body := map[string]any{
		"project_id": 1234,
		"payment": map[string]any{
			"id": row[3], "type": "payout", "status": "success", "date": "2026-11-25T02:00:07+0000", "method": "sbp-p2p", "description": "",
			"sum": map[string]any{"amount": amount, "currency": row[5]},
		},
		"account":  map[string]any{"number": payout.Mask(row[6])},
		"customer": map[string]any{"id": row[8]},
		"operation": map[string]any{
			"id": 12_345_678_900_000_000 + n, "type": "payout", "status": "success", "date": "2026-11-25T02:00:07+0000", "created_date": "2026-11-25T02:00:01+0000",
			"request_id": fmt.Sprintf("%015x", n), "code": "0", "message": "Success", "eci": "",
			"sum_initial":   map[string]any{"amount": amount, "currency": row[5]},
			"sum_converted": map[string]any{"amount": amount, "currency": row[5]},
			"provider":      map[string]any{"id": 2_345, "payment_id": fmt.Sprintf("123abc%03d-%03d", n/1000%1000, n%1000), "date": "2026-11-25T02:00:06+0000", "auth_code": ""},
		},
	}
	unsigned, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	canonical, err := gate.Canonical(unsigned)
	if err != nil {
		return nil, err
	}
	body["signature"] = secret.Sign(canonical)
	return json.Marshal(body)
}

func write(path string, do func(w *bufio.Writer) error) error {
	f, err := os.Create(path) //nolint:gosec // in our own folder
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(do(w), w.Flush(), f.Close())
}
