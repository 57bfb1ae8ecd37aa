package payout

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"masspay/docs/docstest"
)

// The tables of docs/reference/states.md are those that TestNextAllPairs and TestNextOutcomes hold
// against the code: go test ./payout -run TestStatesPage -update writes them.
func TestStatesPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| from | by | to |\n|---|---|---|\n")
	for _, from := range States {
		to := map[State][]string{}
		for _, kind := range Kinds {
			if after, ok := pairs[from][kind]; ok {
				to[after] = append(to[after], kind.String())
			}
		}
		asPaid := event(Resolved, 0)
		asPaid.Outcome = StatePaid
		if after, _ := Next(rules, in(from), asPaid); after.State != from {
			to[after.State] = append(to[after.State], asPaid.Kind.String())
		}
		for _, outcome := range outcomes {
			if after, _ := Next(rules, in(from), verdictOf(outcome, 0)); after.State != from {
				to[after.State] = append(to[after.State], "outcome")
			}
		}
		if from == StateUnknown {
			to[StateNew] = append(to[StateNew], NotSeen.String()+", twice, the second time `gate.quiet_period` after the attempt")
		}
		for i, after := range States {
			by := strings.Join(to[after], ", ")
			if by == "" || slices.ContainsFunc(States[:i], func(s State) bool { return strings.Join(to[s], ", ") == by }) {
				continue
			}
			var alike []string
			for _, s := range States[i:] {
				if strings.Join(to[s], ", ") == by {
					alike = append(alike, s.String())
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", from, by, strings.Join(alike, ", "))
		}
		if len(to) == 0 {
			fmt.Fprintf(&b, "| %s | nothing | |\n", from)
		}
	}
	docstest.Section(t, "../docs/reference/states.md", "transitions", b.String())
	var rows [][]string
	for _, s := range States {
		rows = append(rows, []string{"`" + s.String() + "`"})
	}
	for _, k := range Kinds {
		rows = append(rows, []string{k.String()})
	}
	docstest.Rows(t, "../docs/reference/states.md", rows)
}
