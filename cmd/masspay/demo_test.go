package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/gate/gatesim"
)

func TestDemoHostile(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	n := newNight(t, 1, gatesim.Config{}) // for its folder
	require.Equal(t, 0, n.masspay("demo", "--hostile"), "%s", n.said.String())
	said := n.said.String()
	for _, want := range []string{"paid twice                                0", "lost, or told wrongly                     0", "Nothing was paid twice, nothing was lost."} {
		require.Contains(t, said, want)
	}
}
