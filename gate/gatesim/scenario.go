package gatesim

import (
	"time"

	"masspay/gate"
)

// step is one thing that happens to a payment after it was accepted.
type step struct {
	after  time.Duration
	status string // payment.status
	op     string // operation.status; empty: as status
	code   string
	final  bool
	paid   bool // money moves to the receiver
	half   bool // only half of the amount
	other  bool // the report names another amount
	errors bool // told in an errors array, not in an operation
	part   int  // 1 or 2: the operation is one of two
}

// inParts makes two operations of a payment that is plainly paid: each moves a half,
// or the first one moves nothing.
func inParts(steps []step, cascade bool) []step {
	if len(steps) != 1 || !steps[0].paid || steps[0].half || steps[0].other {
		return steps
	}
	first := step{after: steps[0].after / 2, status: "processing", op: "success", code: "0", part: 1}
	if cascade {
		first.op, first.code = "decline", "20000"
	}
	last := steps[0]
	last.part = 2
	return []step{first, last}
}

// refusedBySuffix are accounts whose requests are refused at the door: the last
// two digits of the destination and the code.
var refusedBySuffix = map[string]string{
	"11": "2609", // a row to fix
	"13": "504",  // no money
	"15": gate.CodeExists,
	"16": "3262", // configuration
}

// story is what becomes of an accepted payment, by the last two digits of its
// destination. Every suffix that is not named is paid.
func story(suffix string, d time.Duration) []step {
	paid := step{after: d, status: "success", code: "0", final: true, paid: true}
	switch suffix {
	case "01":
		return []step{{after: d, status: "decline", code: "20000", final: true}}
	case "02":
		return []step{{after: d / 3, status: "processing"}, paid}
	case "03":
		return []step{{after: d / 3, status: "awaiting retry", op: "processing"}, paid}
	case "04":
		return []step{{after: d / 3, status: "awaiting clarification"}, {after: d, status: "decline", code: "3198", final: true}}
	case "05":
		return []step{{after: d, status: "partially_paid_out", op: "success", code: "0", final: true, paid: true, half: true}}
	case "06":
		return []step{{after: d, status: "error", code: "2609", final: true, errors: true}}
	case "07":
		return []step{paid, {after: 2 * d, status: "reversed", op: "success", code: "0", final: true}}
	case "08":
		return []step{{after: d / 3, status: "external processing"}, paid}
	case "09":
		paid.other = true
		return []step{paid}
	case "10":
		return []step{{after: d, status: "processing"}}
	case "12":
		return []step{{after: d, status: "decline", code: "20401", final: true}}
	case "14":
		return []step{{after: d, status: "decline", code: "20801", final: true}}
	}
	return []step{paid}
}
