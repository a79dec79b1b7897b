// Package cli is mooring's command line: one file per mode, the flags that all modes share, the environment, exit codes.
//
// Every flag is also an environment variable: --log-level is MOORING_LOG_LEVEL; a flag wins. Wrong use lists every mistake
// and exits with 2, a failure at run exits with 1, an ordered end (SIGTERM) with 0. The package is the only one that knows
// cobra, and the only one that takes anything from the process (see Env).
//
// A mode is a value of type mode: what it is called, whether it needs a cloud, and options that can declare their flags,
// check themselves and run.
package cli
