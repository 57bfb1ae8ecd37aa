package result

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The cells of an exception are under their columns, and run as no formula.
func TestExceptionCells(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 27, 2, 15, 0, 0, time.FixedZone("", 6*3600))
	closed, by := since.Add(time.Hour), since.Add(2*time.Hour)
	e := Exception{
		Project: 1234, PaymentID: "p-1", File: "=may.csv", Batch: "b", Minor: 125050, Currency: "KGS", Account: "996***20", State: StateCheck,
		Why: "@x", Since: since, AnswerBy: &by, Person: "-anna", ClosedAt: &closed, Reason: "+1",
	}
	cells := map[string]string{}
	for i, c := range e.Cells() {
		cells[ExceptionColumns[i]] = c
	}
	require.Equal(t, map[string]string{
		"project_id": "1234", "payment_id": "p-1", "file": "'=may.csv", "batch": "b", "amount": "125050", "currency": "KGS", "account": "996***20", "state": "check",
		"why": "'@x", "since": "2026-11-26T20:15:00Z", "person": "'-anna", "closed_at": "2026-11-26T21:15:00Z", "reason": "'+1", "answer_by": "2026-11-26T22:15:00Z",
	}, cells)
	require.Len(t, cells, len(ExceptionColumns))
	e.ClosedAt, e.AnswerBy = nil, nil
	require.Empty(t, e.Cells()[11])
	require.Empty(t, e.Cells()[13])
}
