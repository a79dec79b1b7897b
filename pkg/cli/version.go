package cli

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the linker: -X mooring/pkg/cli.version=v1.2.3.
var version = "dev"

func newVersion(env *Env) *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Prints the version",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return mistakes{fmt.Errorf("unexpected argument %q", args[0])}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			switch output {
			case "text":
				_, err := fmt.Fprintf(env.Stdout, "mooring %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return err
			case "json":
				return json.NewEncoder(env.Stdout).Encode(map[string]string{
					"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
				})
			default:
				return mistakes{fmt.Errorf("--output: %q has to be text or json", output)}
			}
		},
	}
	cmd.Flags().StringVar(&output, "output", output, "text or json")
	return cmd
}
