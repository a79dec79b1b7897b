package params_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/manila"
	"mooring/pkg/manila/params"
)

func TestParseMutable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   map[string]string
		want params.Mutable
	}{
		"nothing": {nil, params.Mutable{}},
		"all": {
			map[string]string{"nfs-shareClient": "10.0.0.0/8,fd00::1", "accessLevel": "ro", "appendShareMetadata": `{"tier":"gold"}`, "type": "fast"},
			params.Mutable{NFSClients: []string{"10.0.0.0/8", "fd00::1"}, AccessLevel: "ro", Metadata: map[string]string{"tier": "gold"}, Type: "fast"},
		},
	} {
		got, err := params.ParseMutable(c.in)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestMutableMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   map[string]string
		want string
	}{
		{map[string]string{"protocol": "NFS"}, `"protocol" is unknown; known are accessLevel, appendShareMetadata, nfs-shareClient, type`},
		{map[string]string{"accessLevel": "rx"}, `accessLevel: "rx" is neither rw nor ro`},
		{map[string]string{"accessLevel": ""}, "accessLevel:"},
		{map[string]string{"nfs-shareClient": "10.0.0.1/8"}, "nfs-shareClient: "},
		{map[string]string{"nfs-shareClient": ""}, "nfs-shareClient: "},
		{map[string]string{"type": ""}, "type: it is empty"},
		{map[string]string{"appendShareMetadata": `{"` + manila.ClusterKey + `":"x"}`}, manila.ClusterKey},
		{map[string]string{"appendShareMetadata": `{"` + manila.ClonedFromKey + `":"x"}`}, manila.ClonedFromKey},
		{map[string]string{"appendShareMetadata": `{"` + manila.AccessKey + `":"x"}`}, manila.AccessKey},
		{map[string]string{"appendShareMetadata": `{"csi.storage.k8s.io/pv/name":"x"}`}, "csi.storage.k8s.io/pv/name"},
		{map[string]string{"appendShareMetadata": `{"mooring-x":"x"}`}, "mooring-x"},
		{map[string]string{"appendShareMetadata": `{"__mount_options":"x"}`}, "__mount_options"},
		{map[string]string{"appendShareMetadata": `[]`}, "JSON object of strings"},
	} {
		_, err := params.ParseMutable(c.in)
		if !errors.Is(err, params.ErrInvalid) || !strings.HasPrefix(err.Error(), "VolumeAttributesClass parameters: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v; want %q", c.in, err, c.want)
		}
	}
}

// TestOverride: a VolumeAttributesClass comes before the StorageClass, and metadata of both is there.
func TestOverride(t *testing.T) {
	t.Parallel()
	class, err := params.ParseClass(map[string]string{"type": "slow", "appendShareMetadata": `{"a":"class","b":"class"}`})
	if err != nil {
		t.Fatal(err)
	}
	want := class
	class.Override(&params.Mutable{})
	if diff := cmp.Diff(want, class); diff != "" {
		t.Errorf("nothing changes (-want +got):\n%s", diff)
	}
	class.Override(&params.Mutable{Type: "fast", NFSClients: []string{"10.0.0.1"}, AccessLevel: "ro", Metadata: map[string]string{"a": "mutable"}})
	want.Type, want.NFSClients, want.AccessLevel, want.Metadata = "fast", []string{"10.0.0.1"}, "ro", map[string]string{"a": "mutable", "b": "class"}
	if diff := cmp.Diff(want, class); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
