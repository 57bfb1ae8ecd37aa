// Package samples holds the files that a newcomer can run, so that the demo
// finds them wherever the program is installed.
package samples

import "embed"

// Files are the samples.
//
//go:embed *.csv
var Files embed.FS
