package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionText is what version --json prints.
type versionText struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // commit that it was built from, where that is known
	Go       string `json:"go"`
	System   string `json:"system"` // as linux/amd64
}

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  args(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			v := versionText{Version: version, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Revision = s.Value
					}
				}
			}
			if asJSON {
				return a.printJSON(v)
			}
			_, err := fmt.Fprintf(a.w.stdout, "masspay %s%s (%s %s)\n", v.Version, behind(" ", v.Revision[:min(12, len(v.Revision))]), v.Go, v.System)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}
