package scan

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Scheme is how a value is stored.
type Scheme string

// The schemes, after the prefixes that kube-apiserver writes before a value
// (k8s.io/apiserver/pkg/server/options/encryptionconfig/config.go). A kmsV2 value whose key id can't be read is Unreadable.
const (
	KMSv2       Scheme = "kms v2"
	KMSv1       Scheme = "kms v1" // the key id is inside of what the plugin wrapped: it can't be told
	AESCBC      Scheme = "aescbc"
	AESGCM      Scheme = "aesgcm"
	SecretBox   Scheme = "secretbox"
	Unencrypted Scheme = "unencrypted"
	Unreadable  Scheme = "unreadable"
	Unknown     Scheme = "unknown" // a prefix of a kube-apiserver that is newer than this program
)

const (
	encrypted = "k8s:enc:"
	// longestName bounds a provider's or a key's name; names in an EncryptionConfiguration are short.
	longestName = 256
	// longestKeyID is kube-apiserver's own limit (k8s.io/apiserver/…/envelope/kmsv2, keyIDMaxSize).
	longestKeyID = 1024
)

// sighting is what one value tells.
type sighting struct {
	scheme Scheme
	name   string // of the provider, or of the local key
	keyID  string // of KMSv2 only
}

// classify reads a value's prefix, and the key id if there is one. It takes any bytes.
func classify(value []byte) sighting {
	rest, ok := bytes.CutPrefix(value, []byte(encrypted))
	if !ok {
		return sighting{scheme: Unencrypted}
	}
	for _, known := range []struct {
		prefix string
		scheme Scheme
	}{
		{"kms:v2:", KMSv2}, {"kms:v1:", KMSv1}, {"aescbc:v1:", AESCBC}, {"aesgcm:v1:", AESGCM}, {"secretbox:v1:", SecretBox},
	} {
		after, ok := bytes.CutPrefix(rest, []byte(known.prefix))
		if !ok {
			continue
		}
		name, payload, ok := bytes.Cut(after, []byte(":")) // a name has no colon (config validation of kube-apiserver)
		if !ok || len(name) == 0 || len(name) > longestName || !utf8.Valid(name) {
			return sighting{scheme: Unreadable}
		}
		s := sighting{scheme: known.scheme, name: string(name)}
		if s.scheme == KMSv2 {
			if s.keyID, ok = keyID(payload); !ok {
				s.scheme = Unreadable
			}
		}
		return s
	}
	return sighting{scheme: Unknown}
}

// The fields of kube-apiserver's EncryptedObject (k8s.io/apiserver/…/envelope/kmsv2/v2/api.proto).
const fieldKeyID = 2

// keyID reads the key id of an EncryptedObject; the last one counts, as for every reader of protocol buffers. What kube-apiserver
// would refuse to read is refused: half a message tells no key.
func keyID(message []byte) (id string, ok bool) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return "", false
		}
		message = message[n:]
		if number == fieldKeyID {
			if kind != protowire.BytesType {
				return "", false
			}
			text, n := protowire.ConsumeBytes(message)
			if n < 0 || len(text) > longestKeyID || !utf8.Valid(text) {
				return "", false
			}
			id, message = string(text), message[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return "", false
		}
		message = message[n:]
	}
	return id, id != ""
}

// resource is the resource that an object's key is of, as an EncryptionConfiguration names it ("secrets", "widgets.example.com"): key is
// what comes after "/registry/". Built-in resources have no group in their key, whatever their group is.
func resource(key string) string {
	first, rest, _ := strings.Cut(key, "/")
	second, _, _ := strings.Cut(rest, "/")
	switch {
	case len(first) > longestName || len(second) > longestName:
		return "unknown"
	case strings.Contains(first, ".") && second != "": // <group>/<resource>/…
		return second + "." + first
	case first == "services" && second == "endpoints":
		return "endpoints"
	}
	// these are stored under the name that they had once (k8s.io/kubernetes/pkg/kubeapiserver/default_storage_factory_builder.go)
	switch first {
	case "controllers":
		return "replicationcontrollers"
	case "minions":
		return "nodes"
	case "ingress":
		return "ingresses"
	case "":
		return "unknown"
	default:
		return first
	}
}
