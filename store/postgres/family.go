package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// A family is the payouts of one row: its first one and its retries, whose ids are the
// first one's with -r2 and so on behind it. The table knows what follows the first id in
// those that were loaded; it has an entry only for rows that have a retry.

func firstOf(key payout.Key) payout.Key {
	return payout.Key{ProjectID: key.ProjectID, PaymentID: payout.FirstOf(key.PaymentID)}
}

// RetryBlocker returns the payout that a row must wait for; see store.Store.
func (s *Store) RetryBlocker(ctx context.Context, key payout.Key, amount payout.Amount, payee string) (blocker store.Blocker, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		w := (&tx{s: s, c: c.Conn()}).writer(ctx)
		blocker, err = w.retryBlocker(ctx, key, amount, payee)
		return err
	})
	return blocker, err
}

// Families tells which rows have a retry; see store.Store.
func (s *Store) Families(ctx context.Context) (has func(first payout.Key) bool, err error) {
	all := map[payout.Digest]bool{}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, s.sql(`select id from @families`))
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
		for _, id := range ids {
			all[id] = true
		}
		return err
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return func(first payout.Key) bool { return all[s.sealer.DigestID(first)] }, nil
}

// Family returns the payouts of a row; see store.Store.
func (s *Store) Family(ctx context.Context, key payout.Key) (all []payout.Payout, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		w := (&tx{s: s, c: c.Conn()}).writer(ctx)
		records, err := w.familyOf(ctx, key)
		for _, r := range records {
			all = append(all, r.Payout)
		}
		return err
	})
	return all, err
}

// familyOf reads the payouts of a row, the first one first. It locks nothing.
func (w *writer) familyOf(ctx context.Context, key payout.Key) ([]codec.Record, error) {
	first := firstOf(key)
	id := w.s.sealer.DigestID(first)
	endings := []string{""}
	var kept []byte
	err := w.t.c.QueryRow(ctx, w.s.sql(`select endings from @families where id = $1`), [16]byte(id)).Scan(&kept)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	if err == nil {
		text, err := codec.Plain("family", id[:], kept)
		if err != nil {
			return nil, err
		}
		endings = append(endings, strings.Fields(string(text))...)
	}
	ids := make([]payout.Digest, len(endings))
	for i, ending := range endings {
		ids[i] = w.s.sealer.DigestID(payout.Key{ProjectID: key.ProjectID, PaymentID: first.PaymentID + ending})
	}
	rows, err := w.t.c.Query(ctx, w.s.sql(`select i.id, `+payoutColumns+` from @ids i join @payouts p on p.number = i.payout where i.id = any($1::uuid[])`), uuids(ids))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[[16]byte]codec.Record{}
	for rows.Next() {
		var id [16]byte
		var r row
		if err := rows.Scan(append([]any{&id}, r.into()...)...); err != nil {
			return nil, err
		}
		if mine := w.records[uint64(r.number)]; mine != nil {
			found[id] = *mine // as this transaction has changed it
			continue
		}
		rec, err := r.decode()
		if err != nil {
			return nil, err
		}
		found[id] = rec
	}
	all := make([]codec.Record, 0, len(ids))
	for _, id := range ids {
		if r, there := found[id]; there {
			all = append(all, r)
		}
	}
	return all, rows.Err()
}

// retryBlocker looks through the other payouts of a row. One that bars it, of the same payee
// and amount, is returned, else one that would bar it if it were, else none.
func (w *writer) retryBlocker(ctx context.Context, key payout.Key, amount payout.Amount, payee string) (blocker store.Blocker, err error) {
	all, err := w.familyOf(ctx, key)
	if err != nil {
		return blocker, err
	}
	var self uint64 // where the payout with this id is still to be sent
	for _, r := range all {
		if r.Key == key && r.State == payout.StateNew {
			self = r.Number
		}
	}
	for _, r := range all {
		if r.Key == key || len(r.Places) == 0 || !r.BlocksRetry(w.s.o.Rules) {
			continue
		}
		if self != 0 && self < r.Number && r.State == payout.StateNew && !r.OfAnother() {
			continue // of two that wait, the first one goes: they must not wait for each other
		}
		header, cells, err := w.Place(&r.Payout)
		if err != nil {
			return blocker, err
		}
		same := r.Amount == amount && payout.Payee(header.Columns, cells) == payee
		if same || blocker.By.Number == 0 {
			blocker = store.Blocker{By: r.Payout, Same: same}
		}
		if same {
			break
		}
	}
	return blocker, nil
}

// readFamilies notes which of some rows have a retry.
func (s *claimScan) readFamilies(ctx context.Context, all []*lineRow) error {
	if !s.families {
		return nil
	}
	var ids []payout.Digest
	for _, l := range all {
		if err := s.w.keep(&l.payout); err != nil {
			return err
		}
		ids = append(ids, s.s.sealer.DigestID(firstOf(s.w.records[uint64(l.payout.number)].Key)))
	}
	rows, err := s.w.t.c.Query(ctx, s.s.sql(`select id from @families where id = any($1::uuid[])`), uuids(ids))
	if err != nil {
		return err
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	for _, id := range known {
		s.family[id] = true
	}
	return err
}

// mayHaveFamily reports whether a payout may be of a row that is there under two ids.
func (s *claimScan) mayHaveFamily(r *codec.Record) bool {
	return s.families && s.family[s.s.sealer.DigestID(firstOf(r.Key))]
}

// joinFamilies notes new payouts that are retries.
func (w *writer) joinFamilies(ctx context.Context, b *pgx.Batch, retries []payout.Key) error {
	if len(retries) == 0 {
		return nil
	}
	added := map[payout.Digest][]string{}
	var ids []payout.Digest
	for _, key := range retries {
		first := firstOf(key)
		id := w.s.sealer.DigestID(first)
		if added[id] == nil {
			ids = append(ids, id)
		}
		if ending := key.PaymentID[len(first.PaymentID):]; !slices.Contains(added[id], ending) {
			added[id] = append(added[id], ending)
		}
	}
	rows, err := w.t.c.Query(ctx, w.s.sql(`select id, endings from @families where id = any($1::uuid[])`), uuids(ids))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id [16]byte
		var kept []byte
		if err := rows.Scan(&id, &kept); err != nil {
			return err
		}
		text, err := codec.Plain("family", id[:], kept)
		if err != nil {
			return err
		}
		endings := strings.Fields(string(text))
		for _, ending := range added[id] {
			if !slices.Contains(endings, ending) {
				endings = append(endings, ending)
			}
		}
		added[id] = endings
	}
	if err := rows.Err(); err != nil {
		return err
	}
	texts := make([][]byte, len(ids))
	for i, id := range ids {
		texts[i] = codec.Summed(id[:], []byte(strings.Join(added[id], " ")))
	}
	b.Queue(w.s.sql(`insert into @families (id, endings) select * from unnest($1::uuid[], $2::bytea[]) on conflict (id) do update set endings = excluded.endings`), uuids(ids), texts)
	return nil
}
