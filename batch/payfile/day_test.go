package payfile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/batch/payfile"
)

// Two files that are each within a day's limits when they are checked are not both loaded.
func TestTwoFilesOnOneDay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, says string
		rule       payfile.Rule
	}{
		{"day", "today 50.00 KGS came in already, this file adds 50.01 KGS: over 100.00 KGS a day (limits.rules[0].day; the CFO may raise it)", payfile.Rule{Day: 100_00}},
		{"to one account", "b-1 (996***20): the file pays 50.01 KGS to this account after 50.00 KGS today: over 100.00 KGS a day to one account (limits.rules[0].payee_day; the CFO may raise it)", payfile.Rule{PayeeDay: 100_00}},
		{"of a method", "today 50.00 KGS came in already (project 1234 sbp-p2p), this file adds 50.01 KGS: over 100.00 KGS a day (limits.rules[0].day; the CFO may raise it)", payfile.Rule{Project: 1234, Method: "sbp-p2p", Day: 100_00}},
		{"another project", "", payfile.Rule{Project: 99, Day: 1}},
		{"just enough", "", payfile.Rule{Day: 100_01, PayeeDay: 100_01}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := checker(t)
			tt.rule.Currency = "KGS"
			c.Limits = &payfile.Limits{Rules: []payfile.Rule{tt.rule}, Who: "the CFO"}
			c.DayBegan = time.Now().Add(-time.Hour)
			first, second := input(t, "a.csv", header+line("a-1", 50_00, 20)), input(t, "b.csv", header+line("b-1", 50_01, 20))
			a, err := c.Check(t.Context(), first)
			require.NoError(t, err)
			b, err := c.Check(t.Context(), second)
			require.NoError(t, err, "nothing has come in yet")
			allow, limited := c.Limits.Allowance("b.csv", c.DayBegan)
			require.True(t, limited)
			_, err = a.Load(t.Context(), whole(c), first, nil, allow)
			require.NoError(t, err)
			_, err = b.Load(t.Context(), whole(c), second, nil, allow)
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			says := "b.csv: 1 problem, nothing was sent\n" + tt.says + "\n"
			require.Equal(t, says, problemsOf(t, err))
			_, err = c.Check(t.Context(), second)
			require.Equal(t, strings.Replace(says, "b-1 (996***20): ", "line 2: ", 1), problemsOf(t, err), "a check says the same")
			c.DayBegan = time.Now().Add(time.Hour)
			k, err := c.Check(t.Context(), second)
			require.NoError(t, err)
			tomorrow, _ := c.Limits.Allowance("b.csv", c.DayBegan)
			_, err = k.Load(t.Context(), whole(c), second, nil, tomorrow)
			require.NoError(t, err)
		})
	}
	_, limited := (*payfile.Limits)(nil).Allowance("", time.Time{})
	require.False(t, limited)
}

// Of two files with the same rows under other ids, side by side, the second one is refused
// where twins are.
func TestTwinsThatCameInMeanwhile(t *testing.T) {
	t.Parallel()
	c := checker(t)
	c.Lookalikes = payfile.Lookalikes{Twins: payfile.Refuse, Since: time.Now().Add(-time.Hour)}
	first, second := input(t, "a.csv", header+line("a-1", 50_00, 20)+line("a-2", 10, 21)), input(t, "b.csv", header+line("b-1", 50_00, 20)+line("b-2", 11, 21))
	a, err := c.Check(t.Context(), first)
	require.NoError(t, err)
	b, err := c.Check(t.Context(), second)
	require.NoError(t, err)
	for i, k := range []*payfile.Checked{a, b} {
		allow, ok := k.Meanwhile(c.Lookalikes)
		require.True(t, ok)
		_, err := k.Load(t.Context(), whole(c), []*payfile.Input{first, second}[i], nil, allow)
		if i == 0 {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, "b.csv: 1 problem, nothing was sent\nb-1 (50.00 KGS to 996***20) is like a-1, which came in with another file meanwhile: run the same command again to see how it stands\n", problemsOf(t, err))
	}
	_, ok := b.Meanwhile(payfile.Lookalikes{Twins: payfile.Warn, Since: time.Now()})
	require.False(t, ok)
}
