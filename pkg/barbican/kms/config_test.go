package kms

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// FuzzEncryptionConfiguration: whatever a cluster and a socket are called, it is one provider of that name and socket, and identity.
func FuzzEncryptionConfiguration(f *testing.F) {
	f.Add("my-cluster", "/run/mooring/kms.sock")
	f.Add("Cluster 1: öäü/\"'\n- aescbc: {}", "/run/a b\"\\\n.sock")
	f.Add("", "/-")
	f.Fuzz(func(t *testing.T, cluster, path string) {
		var got struct {
			Resources []struct {
				Resources []string
				Providers []map[string]map[string]string
			}
		}
		endpoint := "unix://" + path
		text := EncryptionConfiguration(cluster, endpoint)
		if err := yaml.Unmarshal([]byte(text), &got); err != nil || len(got.Resources) != 1 || len(got.Resources[0].Providers) != 2 {
			t.Fatalf("%v:\n%s", err, text)
		}
		provider := got.Resources[0].Providers[0]["kms"]
		name := provider["name"]
		if name == "" || name != ProviderName(cluster) || len(name) > 63 || strings.ContainsFunc(name, func(r rune) bool { return r == ':' || r > unicode.MaxASCII }) {
			t.Errorf("%q: name %q", cluster, name)
		}
		if utf8.ValidString(path) && provider["endpoint"] != endpoint {
			t.Errorf("endpoint %q, want %q", provider["endpoint"], endpoint)
		}
	})
}
