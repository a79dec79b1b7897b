package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"mooring/pkg/goldentest"
)

// The reference page is made from the flags themselves.
func TestGoldenReference(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# Command line\n\n<!-- Made from the flags by `make generate`. -->\n\n" +
		"Every flag is also an environment variable, but for those that have none in the table; a flag wins, an empty variable counts as not set. Wrong use lists every mistake and exits with 2, a failure at run exits\n" +
		"with 1, an ordered end (SIGTERM) with 0; 3 says that what was looked for is there. The cloud is found as the `openstack` client finds it: a named entry of `clouds.yaml`\n" +
		"(with `secure.yaml` beside it), or else the `OS_*` variables. It is asked through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name, and where no `cacert`\n" +
		"is given, the authorities in the directories of `SSL_CERT_DIR` are trusted beside the system's. What `mooring keys` prints as JSON has [a page of its own](keys-json.md).\n")
	common := pflag.NewFlagSet("common", pflag.ContinueOnError)
	(&commonFlags{}).flags(common)
	b.WriteString("\n## Flags of every mode\n\n")
	table(&b, common, nil)
	for _, m := range modes() {
		flags := pflag.NewFlagSet(m.name, pflag.ContinueOnError)
		m.options.flags(flags)
		fmt.Fprintf(&b, "\n## mooring %s\n\n%s.\n\n%s\n\n", m.name, m.short, m.long)
		table(&b, flags, common)
	}
	tools(&b, "shares", shareTools(), common)
	tools(&b, "keys", keyTools(), common)
	tools(&b, "dns", dnsTools(), common)
	b.WriteString("\n## mooring version\n\nPrints the version; `--output text|json`.\n")
	goldentest.Compare(t, filepath.Join("..", "..", "docs", "reference", "command-line.md"), b.String())
}

func tools(b *strings.Builder, parent string, list []*mode, common *pflag.FlagSet) {
	for _, m := range list {
		flags := pflag.NewFlagSet(m.name, pflag.ContinueOnError)
		m.options.flags(flags)
		logs := "The flags of every mode up to `--log-format`"
		if m.cloud == cloudNone {
			logs = "`--log-level` and `--log-format`"
		}
		usage := m.name
		if taker, ok := m.options.(argumentTaker); ok {
			usage += " " + taker.usage()
		}
		fmt.Fprintf(b, "\n## mooring %s %s\n\n%s.\n\n%s\n\n%s are there, too; `--log-level` is `warn` by default.\n\n", parent, usage, m.short, m.long, logs)
		table(b, flags, common)
	}
}

func table(b *strings.Builder, flags, without *pflag.FlagSet) {
	b.WriteString("| flag | variable | default | |\n|---|---|---|---|\n")
	flags.SortFlags = false
	flags.VisitAll(func(f *pflag.Flag) {
		if without != nil && without.Lookup(f.Name) != nil {
			return
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			value = "`" + f.DefValue + "`"
		}
		env := "`" + variable(f.Name) + "`"
		if _, ok := f.Annotations[flagAlone]; ok {
			env = "none"
		}
		fmt.Fprintf(b, "| `--%s` | %s | %s | %s |\n", f.Name, env, value, strings.ReplaceAll(f.Usage, "|", "\\|"))
	})
}
