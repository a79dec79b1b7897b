package csi

import (
	"errors"
	"math"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, c := range map[string]struct {
		required, limit int64
		size, most      int
		ok              bool
	}{
		"nothing":               {0, 0, 1, 0, true},
		"a byte":                {1, 0, 1, 0, true},
		"a GiB":                 {gib, 0, 1, 0, true},
		"a byte more":           {gib + 1, 0, 2, 0, true},
		"with a limit":          {gib, 3 * gib, 1, 3, true},
		"an odd limit":          {gib, 3*gib - 1, 1, 2, true},
		"exactly":               {2 * gib, 2 * gib, 2, 2, true},
		"100 to 200 MiB":        {100 * mib, 200 * mib, 0, 0, false},
		"no whole GiB between":  {gib + 1, 2*gib - 1, 0, 0, false},
		"limit below required":  {2 * gib, gib, 0, 0, false},
		"negative":              {-1, 0, 0, 0, false},
		"negative limit":        {0, -1, 0, 0, false},
		"more than Manila's":    {math.MaxInt64, 0, 0, 0, false},
		"the largest":           {math.MaxInt32 * gib, 0, math.MaxInt32, 0, true},
		"a limit without bound": {gib, math.MaxInt64, 1, math.MaxInt32, true},
	} {
		size, most, err := sizes(&csi.CapacityRange{RequiredBytes: c.required, LimitBytes: c.limit})
		if (err == nil) != c.ok || size != c.size || most != c.most || err != nil && !errors.Is(err, errRange) {
			t.Errorf("%s: %d, %d, %v; want %d, %d, ok %v", name, size, most, err, c.size, c.most, c.ok)
		}
	}
	if size, most, err := sizes(nil); size != 1 || most != 0 || err != nil {
		t.Errorf("no range: %d, %d, %v", size, most, err)
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	mountable := &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}
	for mode := range csi.VolumeCapability_AccessMode_Mode_name {
		m := csi.VolumeCapability_AccessMode_Mode(mode)
		err := checkCapability(&csi.VolumeCapability{AccessType: mountable, AccessMode: &csi.VolumeCapability_AccessMode{Mode: m}})
		refused := m == csi.VolumeCapability_AccessMode_UNKNOWN
		if (err != nil) != refused {
			t.Errorf("mode %s: %v", m, err)
		}
	}
	rw := &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER}
	for name, c := range map[string][]*csi.VolumeCapability{
		"none":           nil,
		"nil":            {nil},
		"block":          {{AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}, AccessMode: rw}},
		"no access type": {{AccessMode: rw}},
		"no access mode": {{AccessType: mountable}},
		"a group":        {{AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{VolumeMountGroup: "1000"}}, AccessMode: rw}},
	} {
		if err := checkCapabilities(c); !errors.Is(err, errRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCephxID(t *testing.T) {
	t.Parallel()
	if got := cephxID("pvc-6b4f"); got != "pvc-6b4f" {
		t.Errorf("a volume's name became %q", got)
	}
	for _, name := range []string{"a.b", "a,b", "", "größe"} {
		if got := cephxID(name); len(got) != 36 || got != cephxID(name) {
			t.Errorf("%q became %q", name, got)
		}
	}
	if cephxID("a.b") == cephxID("a,b") {
		t.Error("two volumes have one cephx user")
	}
}
