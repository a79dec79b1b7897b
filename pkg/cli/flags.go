package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// variable is the environment variable of a flag: log-level → MOORING_LOG_LEVEL.
func variable(flag string) string {
	return "MOORING_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// flagAlone is the annotation of a flag that no environment variable sets: what it does must be meant, each time.
const flagAlone = "mooring/flag-alone"

// alone makes a flag one that no environment variable sets.
func alone(flags *pflag.FlagSet, name string) {
	flag := flags.Lookup(name)
	flag.Annotations = map[string][]string{flagAlone: {}}
}

// parse reads arguments and then the environment into flags, and returns every mistake: pflag alone stops at the first.
func parse(flags *pflag.FlagSet, args []string, lookupEnv func(string) (string, bool)) (wrong mistakes) {
	wrong = append(wrong, unknownFlags(flags, args)...)
	flags.ParseErrorsAllowlist.UnknownFlags = true // those are listed already
	err := flags.ParseAll(args, func(flag *pflag.Flag, value string) error {
		if err := flags.Set(flag.Name, value); err != nil {
			wrong = append(wrong, fmt.Errorf("--%s: %w", flag.Name, reason(err)))
		}
		return nil
	})
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		wrong = append(wrong, err)
	}
	flags.VisitAll(func(flag *pflag.Flag) {
		if _, ok := flag.Annotations[flagAlone]; ok {
			return
		}
		value, ok := lookupEnv(variable(flag.Name))
		if !ok || value == "" || flag.Changed || flag.Name == "help" { // manifests set variables to nothing: that is no value
			return
		}
		if err := flags.Set(flag.Name, value); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", variable(flag.Name), reason(err)))
		}
	})
	return wrong
}

// noArguments finds arguments where none belong.
func noArguments(args []string) (wrong []error) {
	for _, arg := range args {
		wrong = append(wrong, fmt.Errorf("unexpected argument %q", arg))
	}
	return wrong
}

// reason is a flag's error without pflag's frame around it, which repeats the name.
func reason(err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("%q is not valid: %w", invalid.GetValue(), invalid.Unwrap())
	}
	return err
}

func unknownFlags(flags *pflag.FlagSet, args []string) (wrong mistakes) {
	isValue := false // of the flag before it: --cluster-id -x, --drain-timeout -5s
	for _, arg := range args {
		if arg == "--" {
			break
		}
		name, isFlag := strings.CutPrefix(arg, "--")
		if isValue && !isFlag {
			isValue = false
			continue
		}
		name, _, given := strings.Cut(name, "=")
		known := flags.Lookup(name)
		isValue = isFlag && known != nil && known.NoOptDefVal == "" && !given
		switch {
		case isFlag && known == nil:
			wrong = append(wrong, fmt.Errorf("there is no flag --%s%s", name, suggestion(flags, name)))
		case !isFlag && strings.HasPrefix(arg, "-") && arg != "-" && arg != "-h":
			wrong = append(wrong, fmt.Errorf("there is no flag %s: flags begin with two dashes", arg))
		}
	}
	return wrong
}

// suggestion names the flag that was probably meant.
func suggestion(flags *pflag.FlagSet, name string) string {
	best, distance := "", 3
	flags.VisitAll(func(f *pflag.Flag) {
		if d := editDistance(f.Name, name); d < distance {
			best, distance = f.Name, d
		}
	})
	if best == "" {
		return ""
	}
	return ": is it --" + best + "?"
}

// editDistance is Levenshtein's: how many letters have to be put in, taken out or changed.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		previous := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := previous
			if a[i-1] != b[j-1] {
				cost = 1 + min(previous, row[j], row[j-1])
			}
			previous, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
