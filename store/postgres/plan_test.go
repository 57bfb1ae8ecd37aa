package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/storetest"
)

// A claim and its answers find their rows by key, in a table of any size, and with statistics
// or without: the planner would read all of a table of this size each time.
func TestFewRowsAreFoundByKey(t *testing.T) {
	t.Parallel()
	const rows, few = 20_000, 512
	w := newWorld(t)
	s := w.Open(t).(*Store)
	all := make([]store.Row, rows)
	for i := range all {
		all[i] = storetest.Row(fmt.Sprint("p-", i), 500, i+2)
	}
	b := storetest.Load(t, s, "large", all)
	numbers, ids := make([]int64, few), make([]payout.Digest, few)
	for i := range few {
		numbers[i], ids[i] = int64(i*(rows/few)+1), s.sealer.DigestID(all[i*(rows/few)].Key)
	}
	texts, flags, ints, exceptions := make([]string, few), make([]bool, few), make([]int32, few), make([]int16, few)
	times, records := make([]pgtype.Timestamptz, few), make([][]byte, few)
	for name, statement := range map[string]struct {
		text string
		args []any
	}{
		"claim":  {selectLines, []any{int64(b.Number), int64(100), int64(100 + few)}},
		"freed":  {selectFreed, []any{int64(b.Number), int64(-1), int64(rows), int64(few)}},
		"answer": {selectApply, []any{uuids(ids)}},
		"write":  {updatePayouts, []any{numbers, texts, flags, ints, texts, texts, times, numbers, times, records, exceptions}},
	} {
		for _, statistics := range []bool{false, true} {
			if statistics {
				for _, table := range []string{"payouts", "ids", "lines"} {
					w.sql(t, "analyze "+w.o.Schema+"."+table)
				}
			}
			var plan []string
			require.NoError(t, s.write(t.Context(), nil, func(ctx context.Context, t *tx) error {
				rows, err := t.c.Query(ctx, s.sql("explain "+statement.text), statement.args...)
				if err == nil {
					plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
				}
				return err
			}))
			text := strings.Join(plan, "\n")
			for _, table := range []string{"payouts", "ids", "lines"} {
				require.NotRegexp(t, "Seq Scan on "+table+" ", text, "%s, with statistics: %v", name, statistics)
			}
			require.Contains(t, text, "Index", name)
		}
	}
}
