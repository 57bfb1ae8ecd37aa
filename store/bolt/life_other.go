//go:build !linux

package bolt

import (
	"errors"
	"os"
)

// There are no such locks here: whether a process is there is not known.
func lockByte(*os.File, int64) error { return errors.ErrUnsupported }

func byteLocked(*os.File, int64) (bool, error) { return false, errors.ErrUnsupported }
