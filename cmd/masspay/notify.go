package main

import (
	"context"
	"net"
	"strings"
	"time"
)

// notifySocket is where a supervisor listens, as sd_notify(3) of systemd describes.
const notifySocket = "NOTIFY_SOCKET"

// tellReady tells whoever has started this process that it is ready, if that wants to know: a unit
// with Type=notify counts as started from then on, and what follows it begins. Where it cannot be
// told it waits in vain and ends the process, so that is said.
func (a *app) tellReady(ctx context.Context) {
	address := ""
	for _, v := range a.w.env {
		if value, is := strings.CutPrefix(v, notifySocket+"="); is {
			address = value
		}
	}
	if address == "" {
		return
	}
	const longest = time.Second
	d := net.Dialer{Timeout: longest}
	c, err := d.DialContext(ctx, "unixgram", address)
	if err == nil {
		_, err = c.Write([]byte("READY=1"))
		_ = c.Close()
	}
	if err != nil {
		a.say("masspay: %s is not told that this process is ready: %v", notifySocket, err)
	}
}
