// Command mooring ties a tenant's Kubernetes cluster to its OpenStack cloud: one mode per process.
package main

import (
	"os"

	"mooring/pkg/cli"
)

func main() { os.Exit(cli.Main(cli.OS())) }
