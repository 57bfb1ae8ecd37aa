package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
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

func writeFile(path string, rows int) error {
	return write(path, func(w *bufio.Writer) error {
		_, err := w.WriteString(strings.Join(columns, ";") + "\n")
		for n := 0; n < rows && err == nil; n++ {
			_, err = w.WriteString(strings.Join(cells(n), ";") + "\n")
		}
		return err
	})
}

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
			err := enc.Encode(map[string]any{
				"method": "POST", "url": base + draft.Endpoint(), "body": draft.Signed(secret), "header": map[string][]string{"Content-Type": {"application/json"}},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func write(path string, do func(w *bufio.Writer) error) error {
	f, err := os.Create(path) //nolint:gosec // in our own folder
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(do(w), w.Flush(), f.Close())
}

// throughput reads vegeta's report.
func throughput(report []byte) (float64, error) {
	var r struct {
		Throughput float64 `json:"throughput"`
		Success    float64 `json:"success"`
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return 0, err
	}
	if r.Success != 1 {
		return 0, fmt.Errorf("vegeta: only %.4f of the requests succeeded", r.Success)
	}
	return r.Throughput, nil
}
