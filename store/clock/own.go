package clock

import "math/rand/v2"

// ownID means a boot that only this process knows.
func ownID() uint64 { return rand.Uint64() | 1 } //nolint:gosec // to tell processes apart, not secret
