package gate

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"sync"
)

// Group says what a code of the platform means for the money and for the
// person who reads it.
type Group string

// The groups of codes.
const (
	GroupOK         Group = "ok"
	GroupWait       Group = "wait"      // not decided; never pay again
	GroupCheck      Group = "check"     // a person must look before any new payment
	GroupTemporary  Group = "temporary" // a new id, once it is declined
	GroupUnclear    Group = "unexplained"
	GroupLimit      Group = "limit"
	GroupFixRow     Group = "fix-row"
	GroupFixRequest Group = "fix-request"
	GroupDuplicate  Group = "duplicate" // the gate has the id already
	GroupStop       Group = "stop"      // configuration: no payout will fare better
	GroupBalance    Group = "balance"   // no money on the account
	GroupNever      Group = "never"     // fraud or compliance
	GroupOther      Group = "other"
)

// The codes that the protocol itself gives a meaning.
const (
	CodeNotFound  = "3061" // transaction not found
	CodeNoDetails = "3062" // payment details not received
	CodeExists    = "3041" // payment id already exists
	CodeSignature = "3261" // the signature does not match
	codeSuccess   = "0"
)

//go:embed data/operation_codes.csv
var codesCSV []byte

type code struct {
	message string
	group   Group
}

var codes = sync.OnceValue(func() map[string]code {
	rows, err := csv.NewReader(bytes.NewReader(codesCSV)).ReadAll()
	if err != nil {
		panic(fmt.Sprintf("embedded operation codes: %v", err))
	}
	m := make(map[string]code, len(rows))
	for _, r := range rows[1:] {
		m[r[0]] = code{message: r[1], group: Group(r[2])}
	}
	return m
})

// BlocksRetry reports whether a code keeps a refused row from being paid under another
// id: it was refused for good, or a person must look first.
func BlocksRetry(code string) bool {
	switch GroupOf(code) {
	case GroupNever, GroupCheck, GroupWait, GroupDuplicate:
		return true
	}
	return false
}

// GroupOf is the group of a code, GroupOther for one that is not documented.
func GroupOf(c string) Group {
	if k, ok := codes()[c]; ok {
		return k.group
	}
	return GroupOther
}

// MessageOf is the documented message of a code, empty for an unknown one.
func MessageOf(c string) string { return codes()[c].message }
