package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
	"masspay/store/codec"
)

var settingsKey = []byte("settings")

// Settings returns what all machines must have alike; see store.Settled. The zero value
// means that nothing is kept yet.
func (s *Store) Settings(ctx context.Context) (is store.Settings, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		var value []byte
		if err := c.QueryRow(ctx, s.sql(`select settings from @meta`)).Scan(&value); err != nil || value == nil {
			return err
		}
		return unmarshal("settings", settingsKey, value, &is)
	})
	return is, err
}

// Settle keeps other settings from now on; see store.Settled. While any process that sends
// lives, it is refused.
func (s *Store) Settle(ctx context.Context, is store.Settings) error {
	text, err := json.Marshal(is)
	if err != nil {
		return err
	}
	all, err := s.Processes(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if !p.Fenced {
			return &store.DatabaseError{Why: fmt.Sprintf("is in use by process %d on %s, which would go on with other settings", p.PID, p.Host)}
		}
	}
	return s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		b := &pgx.Batch{}
		b.Queue(s.sql(`update @meta set settings = $1`), codec.Summed(settingsKey, text))
		return t.commit(ctx, b)
	})
}
