package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/gate"
)

func (a *app) pingCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ping",
		Short: "Ask the gate about a payment that cannot exist: are address, project and secret right?",
		Long: `Ask the gate for the status of a payment_id that cannot exist, once for each
project. It moves no money. The answer proves the address, the project, its secret
and the right to ask; it cannot prove the right to pay out, nor that this machine's
address is on the platform's list for payouts.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.ping(cmd.Context())
		},
	}
}

func (a *app) ping(ctx context.Context) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := c.noExample(); err != nil {
		return err
	}
	client, closeGate, err := c.gateClient(s)
	if err != nil {
		return err
	}
	defer closeGate()
	release, err := s.Probe(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = release() }()
	for _, p := range c.Projects {
		err := batch.Ping(ctx, client, p.ID, c.Gate.Timeout)
		if batch.Proves(err) {
			if err := s.Prove(ctx, client.Identity()); err != nil {
				return err
			}
		}
		if text, hint := pinged(client.Identity(), p.ID, err); text != "" {
			return failf(exitConfig, hint, "%s; no money was moved", text)
		}
		a.say("%s answers as a Gate API: project %d and its secret are right, and it may ask for the status", client.Identity(), p.ID)
	}
	a.say("whether the project may send payouts, and from this machine's address, only the platform can tell; no money was moved")
	return nil
}

// pinged says what is wrong, in a sentence with a remedy; nothing if all is right.
func pinged(identity string, project uint32, err error) (text, hint string) {
	var said *gate.Error
	var paused gate.Paused
	switch {
	case err == nil, errors.Is(err, gate.ErrNotSeen):
		return "", ""
	case errors.As(err, &paused):
		return "requests are paused until " + paused.PausedUntil().UTC().Format("15:04:05") + " UTC, because the gate asked for it", "masspay ping again after that"
	case errors.Is(err, gate.ErrUnreached):
		return fmt.Sprintf("%s could not be reached: %s", identity, strings.TrimPrefix(err.Error(), gate.ErrUnreached.Error()+": ")),
			"check gate.base_url, the network and the firewall, then masspay ping"
	case !errors.As(err, &said):
		return fmt.Sprintf("%s answers, and not as a Gate API does: %v", identity, err), "check gate.base_url with the platform, then masspay ping"
	case said.RetryAfter > 0:
		return fmt.Sprintf("%s asks for fewer requests (HTTP 429)", identity), "wait a minute, then masspay ping"
	case !said.Documented:
		return fmt.Sprintf("%s answers, and not as a Gate API does: %v", identity, said),
			"check gate.base_url with the platform, and whether this machine's address is on its list, then masspay ping"
	case said.Code == gate.CodeNotFound:
		return "", ""
	case said.Code == gate.CodeSignature:
		return fmt.Sprintf("the address is right, but the secret of project %d is wrong (code %s: %s)", project, said.Code, said.Message),
			"put the project's secret into its secret_file again (a space or a line end too many?), then masspay ping"
	}
	return fmt.Sprintf("%s is a Gate API, and refuses project %d: %v", identity, project, said),
		"check the project's number and its rights with the platform, then masspay ping"
}
