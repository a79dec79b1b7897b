package cli

import (
	"github.com/spf13/cobra"
)

// newKeys is the parent of the tools for the keyring of a cluster.
func newKeys(env *Env) *cobra.Command {
	return newParent(env, "keys", "Makes, rotates and retires the keys of a cluster's KMS plugin", keyTools())
}

// keyTools are the tools of "mooring keys".
func keyTools() []*mode {
	return []*mode{keysInit(), keysList(), keysRotate(), keysScan(), keysRetire(), keysStatus()}
}
