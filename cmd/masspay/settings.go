package main

import (
	"context"
	"fmt"

	"masspay/payout"
	"masspay/store"
)

// settings are what all machines of a store must have alike, as this configuration says.
func (c *config) settings() store.Settings {
	gate, err := payout.GateIdentity(c.Gate.BaseURL)
	if err != nil {
		gate = c.Gate.BaseURL // validated before
	}
	return store.Settings{
		Gate: gate, Aliases: c.aliases(), Rate: c.Gate.Rate, Burst: c.Gate.Burst, StatusAfter: c.Gate.StatusAfter, QuietPeriod: c.Gate.QuietPeriod,
		Synchronous: c.Store.URL != "" && c.Store.Synchronous,
	}
}

// agree refuses a configuration that says otherwise than the store: with two rates the
// contract's is exceeded, and a short quiet period on one machine undermines all.
func (c *config) agree(ctx context.Context, s store.Settled) error {
	stored, err := s.Settings(ctx)
	if err != nil || c.settling {
		return err
	}
	differ := c.settings().Differ(stored)
	if len(differ) == 0 {
		return nil
	}
	return &failure{
		code: exitConfig, lines: differ,
		err:  fmt.Errorf("%s is not what the store at %s was set up with; nothing was sent", c.file, c.Store.name()),
		hint: "make this file say the same as those of the other machines; to change it for all: change it on all, stop every process of masspay, then masspay init --settings on one",
	}
}

// settle writes the settings of this configuration into the store.
func (a *app) settle(ctx context.Context, c *config, s store.Store) error {
	settled, ok := s.(store.Settled)
	if !ok {
		return failf(exitConfig, "it reads them from "+c.file, "a store that is a file keeps no settings; nothing was changed")
	}
	was, err := settled.Settings(ctx)
	if err != nil {
		return err
	}
	differ := c.settings().Differ(was)
	if err := settled.Settle(ctx, c.settings()); err != nil {
		return err
	}
	for _, line := range differ {
		a.say("changed: %s until now", line)
	}
	return nil
}

// higher refuses a rate that a flag raises over what all machines share.
func (c *config) higher(rate float64) error {
	if c.Store.URL == "" || rate <= c.Gate.Rate {
		return nil
	}
	return failf(exitConfig, "leave --rate out, or make it lower", "--rate %v: all machines of %s share gate.rate (%v); nothing was sent", rate, c.Store.name(), c.Gate.Rate)
}
