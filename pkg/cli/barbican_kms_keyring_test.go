package cli

import (
	"slices"
	"strings"
	"testing"
)

// TestKeyringFlags gives flags that don't go together, or make no sense.
func TestKeyringFlags(t *testing.T) {
	t.Parallel()
	const id = "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"
	keyring := "--keyring=" + id
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"no keys":             {nil, []string{"--keyring (MOORING_KEYRING) is missing", "--key-id, or --keyring-file"}},
		"two sources":         {[]string{keyring, "--key-id=" + id}, []string{"--key-id, --keyring: the keys come from one of these"}},
		"three":               {[]string{keyring, "--key-id=" + id, "--keyring-file=f"}, []string{"--key-id, --keyring, --keyring-file: the keys come from one of these"}},
		"no UUID":             {[]string{"--keyring=prod"}, []string{`--keyring: "prod" has to be the UUID of a container`}},
		"upper case":          {[]string{"--keyring=" + strings.ToUpper(id)}, []string{"in lower case"}},
		"a delay of one poll": {[]string{keyring, "--poll-interval=10m", "--activation-delay=19m"}, []string{"--activation-delay: 19m0s has to be at least 2 times --poll-interval (10m0s)"}},
		"hasty polls":         {[]string{keyring, "--poll-interval=10ms"}, []string{"--poll-interval: 10ms is less than 1s"}},
		"another policy":      {[]string{keyring, "--on-revocation=panic"}, []string{`--on-revocation: "panic" has to be serve, stop-writes or stop-all`}},
		"stale at once":       {[]string{keyring, "--max-staleness=1s"}, []string{"--max-staleness: 1s has to be 0 or at least 2 times --poll-interval (1m0s)"}},
		"creators of a list":  {[]string{"--key-id=" + id, "--allowed-creators=u"}, []string{"--allowed-creators: only a --keyring has creators to check"}},
		"any and one":         {[]string{keyring, "--allowed-creators=any,u"}, []string{"--allowed-creators: with any"}},
		"many mistakes":       {[]string{"--keyring=x", "--on-revocation=x", "--poll-interval=0"}, []string{"--keyring:", "--on-revocation:", "--poll-interval:"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.files["c.yaml"] = "clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:1/v3', token: t}}}"
			args := slices.Concat([]string{"barbican-kms", "--clouds-file=c.yaml", "--os-cloud=demo", "--endpoint=unix:///run/kms.sock", "--cluster-id=c"}, tc.args)
			if code := w.main(args...); code != exitUsage {
				t.Errorf("exit %d", code)
			}
			for _, want := range tc.want {
				if !strings.Contains(w.errs.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, w.errs.String())
				}
			}
		})
	}
}
