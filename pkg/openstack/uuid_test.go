package openstack_test

import (
	"strings"
	"testing"

	"mooring/pkg/openstack"
)

func TestParseUUID(t *testing.T) {
	t.Parallel()
	const good = "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"
	for _, s := range []string{good, strings.ToUpper(good)} {
		if id, ok := openstack.ParseUUID(s); !ok || id != good {
			t.Errorf("%q: %q, %v", s, id, ok)
		}
	}
	for _, s := range []string{
		"", "fake-vol-id", "../../../limits", good + "/x", "5f0a9e2c11114222833344445555666677aa", good[1:], good + "0", strings.ReplaceAll(good, "-", ""), "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3g", "0b7e6a3c/5e2f/4a53/9d5b/7d5f6a1f2a3b",
		"../../../../../../../../../shares?a=", "0b7e6a3c-5e2f-4a53-9d5b--d5f6a1f2a3b", "ｂb7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a",
	} {
		if id, ok := openstack.ParseUUID(s); ok {
			t.Errorf("%q passed as %q", s, id)
		}
	}
}
