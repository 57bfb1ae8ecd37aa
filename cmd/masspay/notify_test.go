package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serve tells systemd that it is ready when it listens, and not before.
func TestServeTellsThatItIsReady(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, prepare(folder, "http://127.0.0.1:9"))
	socket, admin := filepath.Join(folder, "notify"), filepath.Join(folder, "admin")
	l, err := net.ListenPacket("unixgram", socket)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	config := filepath.Join(folder, "masspay.yaml")
	env := append(os.Environ(), notifySocket+"="+socket, "MASSPAY_CONFIG="+config, "MASSPAY_ADMIN_LISTEN=unix:"+admin)
	var said strings.Builder
	require.Equal(t, exitDone, run(t.Context(), []string{"init"}, world{stdout: &said, stderr: &said, env: env}), "%s", &said)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve"}, world{stdout: new(strings.Builder), stderr: new(strings.Builder), env: env})
	}()
	buffer := make([]byte, 100)
	require.NoError(t, l.SetReadDeadline(time.Now().Add(time.Minute)))
	n, _, err := l.ReadFrom(buffer)
	require.NoError(t, err)
	require.Equal(t, "READY=1", string(buffer[:n]))
	c, err := net.Dial("unix", admin)
	require.NoError(t, err, "it listens")
	require.NoError(t, c.Close())
	stop()
	require.Equal(t, exitDone, <-ended)
}
