// Package clock reads a clock that cannot be set. How long ago something was
// must not depend on the wall clock, which people and time servers step.
package clock

import (
	"time"

	"masspay/payout"
)

// start and base are the same moment on both clocks, as this process began.
var (
	start = time.Now()
	base  = monotonic()
	boot  = bootID()

	thisBoot, thisMachine = machineBoot(), machineID()
)

// Tick is now, on the machine's own clock: the same for all its processes until
// it is restarted. The clock stops while the machine sleeps, so that
// what it measures is at least what it says.
func Tick() payout.Tick { return payout.Tick{Boot: boot, At: base + time.Since(start)} }

// Boot names the machine's present boot, the same for all its processes; 0: not
// known.
func Boot() uint64 { return thisBoot }

// Machine names the machine, the same for all its boots; 0: not known.
func Machine() uint64 { return thisMachine }
