package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// What the tools have in common.

// newParent is a command that only has others below it.
func newParent(env *Env, name, short string, tools []*mode) *cobra.Command {
	names := make([]string, len(tools))
	for i, m := range tools {
		names[i] = m.name
	}
	last := len(names) - 1
	choice := strings.Join(names[:last], ", ") + " or " + names[last]
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return mistakes{fmt.Errorf("there is no command %q", args[0])}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return mistakes{errors.New("a command is missing: " + choice)}
		},
	}
	for _, m := range tools {
		cmd.AddCommand(newMode(env, m))
	}
	return cmd
}

// tableOrJSON checks --output.
func tableOrJSON(output string) error {
	if output == "table" || output == "json" {
		return nil
	}
	return fmt.Errorf("--output: %q has to be table or json", output)
}

// show writes rows as a table, or values as JSON.
func show(w io.Writer, output string, values any, header string, rows [][]string) error {
	if output == "json" {
		return showJSON(w, values)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, strings.ReplaceAll(header, " ", "\t")) // its errors come again with Flush
	for _, row := range rows {
		_, _ = fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

func showJSON(w io.Writer, values any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(values)
}

// orDash is a table's empty cell.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
