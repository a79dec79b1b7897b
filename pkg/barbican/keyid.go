package barbican

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mooring/pkg/openstack"
)

// KeyRef names one generation of a keyring's key: Barbican's id of the secret and the generation. A generation is never given
// to another secret, and a secret that is put back to use gets a new generation, so that key ids never come back.
type KeyRef struct {
	Secret     string // a UUID in lower case
	Generation uint64 // from 1
}

// keyIDPrefix has the version of the form of key ids.
const keyIDPrefix = "barbican:v1:"

// ErrKeyID says that something has not the form of a key id of ours, "barbican:v1:<secret uuid>:<generation>".
var ErrKeyID = errors.New("not a key id of this plugin")

// KeyID is what kube-apiserver stores with everything that this key wraps: "barbican:v1:<secret uuid>:<generation>".
func (r KeyRef) KeyID() string {
	return keyIDPrefix + r.Secret + ":" + strconv.FormatUint(r.Generation, 10)
}

// ParseKeyID reads a key id. There is one spelling of each: what it accepts is what KeyID writes. The error is ErrKeyID.
func ParseKeyID(id string) (KeyRef, error) {
	rest, ok := strings.CutPrefix(id, keyIDPrefix)
	if !ok {
		return KeyRef{}, ErrKeyID
	}
	secret, generation, ok := strings.Cut(rest, ":")
	if !ok || !isUUID(secret) {
		return KeyRef{}, ErrKeyID
	}
	n, err := strconv.ParseUint(generation, 10, 64)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != generation {
		return KeyRef{}, ErrKeyID
	}
	return KeyRef{Secret: secret, Generation: n}, nil
}

// ParseKeyRef reads what an operator writes: "<secret uuid>" or "<secret uuid>:<generation>"; without a generation it is the first.
func ParseKeyRef(text string) (KeyRef, error) {
	secret, generation, given := strings.Cut(text, ":")
	if !isUUID(secret) {
		return KeyRef{}, fmt.Errorf("%q has to be the UUID of a secret in Barbican, in lower case, with :GENERATION after it if that is not 1", text)
	}
	if !given {
		return KeyRef{Secret: secret, Generation: 1}, nil
	}
	n, err := strconv.ParseUint(generation, 10, 64)
	if err != nil || n == 0 {
		return KeyRef{}, fmt.Errorf("%q: the generation after the colon has to be a number from 1", text)
	}
	return KeyRef{Secret: secret, Generation: n}, nil
}

// isUUID says whether s is a UUID as Barbican writes them: in lower case, since key ids are compared as text.
func isUUID(s string) bool {
	id, ok := openstack.ParseUUID(s)
	return ok && id == s
}
