package scan

import (
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

const ours = "barbican:v1:0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b:7"

// object is an EncryptedObject as kube-apiserver writes it, with more around the key id.
func object(keyID string) []byte {
	m := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte("data\x12\x03abc"))
	m = protowire.AppendString(protowire.AppendTag(m, 2, protowire.BytesType), keyID)
	m = protowire.AppendBytes(protowire.AppendTag(m, 3, protowire.BytesType), []byte("seed"))
	m = protowire.AppendBytes(protowire.AppendTag(m, 4, protowire.BytesType), []byte("\x0a\x01a\x12\x01b"))
	return protowire.AppendVarint(protowire.AppendTag(m, 5, protowire.VarintType), 1)
}

func v2(provider, keyID string) string {
	return "k8s:enc:kms:v2:" + provider + ":" + string(object(keyID))
}

func TestClassify(t *testing.T) {
	t.Parallel()
	whole := v2("p", ours)
	group := protowire.AppendTag(nil, 9, protowire.StartGroupType)
	for name, c := range map[string]struct {
		value string
		want  sighting
	}{
		"ours":                         {whole, sighting{KMSv2, "p", ours}},
		"a bare UUID":                  {v2("barbican-kms", "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"), sighting{KMSv2, "barbican-kms", "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"}},
		"any other plugin's":           {v2("p", "arn:aws:kms:x"), sighting{KMSv2, "p", "arn:aws:kms:x"}},
		"the last key id counts":       {whole + string(object("another")), sighting{KMSv2, "p", "another"}},
		"the longest key id":           {v2("p", strings.Repeat("k", 1024)), sighting{KMSv2, "p", strings.Repeat("k", 1024)}},
		"a key id that is too long":    {v2("p", strings.Repeat("k", 1025)), sighting{Unreadable, "p", ""}},
		"no key id":                    {v2("p", ""), sighting{Unreadable, "p", ""}},
		"nothing in it":                {"k8s:enc:kms:v2:p:", sighting{Unreadable, "p", ""}},
		"half of it":                   {whole[:len(whole)-3], sighting{Unreadable, "p", ""}},
		"more after it":                {whole + "\xff", sighting{Unreadable, "p", ""}},
		"a length beyond the end":      {"k8s:enc:kms:v2:p:\x12\xff\xff\xff\xff\x0fk", sighting{Unreadable, "p", ""}},
		"a group that never ends":      {whole + string(group), sighting{Unreadable, "p", ""}},
		"a key id that is a number":    {"k8s:enc:kms:v2:p:\x10\x01", sighting{Unreadable, "p", ""}},
		"a key id that is not UTF-8":   {v2("p", "\xff"), sighting{Unreadable, "p", ""}},
		"no provider":                  {"k8s:enc:kms:v2:", sighting{scheme: Unreadable}},
		"an empty provider":            {v2("", ours), sighting{scheme: Unreadable}},
		"a provider that is too long":  {v2(strings.Repeat("p", 257), ours), sighting{scheme: Unreadable}},
		"KMS v1":                       {"k8s:enc:kms:v1:old:\x00\x20" + whole, sighting{KMSv1, "old", ""}},
		"aescbc":                       {"k8s:enc:aescbc:v1:key1:xxx", sighting{AESCBC, "key1", ""}},
		"aesgcm":                       {"k8s:enc:aesgcm:v1:key1:xxx", sighting{AESGCM, "key1", ""}},
		"secretbox":                    {"k8s:enc:secretbox:v1:key1:xxx", sighting{SecretBox, "key1", ""}},
		"a prefix that is to come":     {"k8s:enc:kms:v3:p:x", sighting{scheme: Unknown}},
		"protocol buffers":             {"k8s\x00\x0a\x0c", sighting{scheme: Unencrypted}},
		"JSON":                         {`{"apiVersion":"v1"}`, sighting{scheme: Unencrypted}},
		"nothing":                      {"", sighting{scheme: Unencrypted}},
		"the prefix is not at the top": {" " + whole, sighting{scheme: Unencrypted}},
	} {
		if got := classify([]byte(c.value)); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestResource(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"secrets/default/a":                                "secrets",
		"deployments/ns/a":                                 "deployments",
		"widgets.example.com/gadgets/ns/a":                 "gadgets.widgets.example.com",
		"apiextensions.k8s.io/customresourcedefinitions/x": "customresourcedefinitions.apiextensions.k8s.io",
		"services/specs/ns/a":                              "services",
		"services/endpoints/ns/a":                          "endpoints",
		"minions/node":                                     "nodes",
		"controllers/ns/rc":                                "replicationcontrollers",
		"ingress/ns/a":                                     "ingresses",
		"ranges/serviceips":                                "ranges",
		"compact_rev.key":                                  "compact_rev.key",
		"":                                                 "unknown",
		strings.Repeat("r", 300) + "/x":                    "unknown",
	} {
		if got := resource(key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, seed := range []string{v2("p", ours), v2("p", ours)[:40], "k8s:enc:kms:v1:p:x", "k8s:enc:aescbc:v1:k:x", "k8s:enc:kms:v2:p:\x12\xff\xff\xff\xff\x0f", "k8s\x00", "k8s:enc:"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		s := classify(value)
		if (s.scheme == KMSv2) != (s.keyID != "") || len(s.keyID) > longestKeyID || len(s.name) > longestName || !utf8.ValidString(s.keyID+s.name) {
			t.Errorf("%q: %+v", value, s)
		}
	})
}

// FuzzKeyID: what is put around the key id does not hide it, nor make another one of it.
func FuzzKeyID(f *testing.F) {
	f.Add("key", []byte{})
	f.Add(ours, []byte("\x12\x03abc"))
	f.Fuzz(func(t *testing.T, id string, data []byte) {
		if id == "" || len(id) > longestKeyID || !utf8.ValidString(id) {
			t.Skip()
		}
		m := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), data)
		m = protowire.AppendString(protowire.AppendTag(m, 2, protowire.BytesType), id)
		if got, ok := keyID(m); !ok || got != id {
			t.Errorf("%q, %v, want %q", got, ok, id)
		}
	})
}

// FuzzResource: whatever a key is, its resource is short, and is not empty.
func FuzzResource(f *testing.F) {
	for _, seed := range []string{"secrets/default/a", "example.com/widgets/a", "services/endpoints/a", "", "/", "//", "a.b/", strings.Repeat("r", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if r := resource(key); r == "" || len(r) > 2*longestName+1 || strings.Contains(r, "/") {
			t.Errorf("%q: %q", key, r)
		}
	})
}
