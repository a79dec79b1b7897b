package params_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"mooring/pkg/manila/params"
)

func TestParseRuntime(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{}`: "", `null`: "", `{"nfs":null}`: "", `{"nfs":{}}`: "", `{"nfs":{"matchExportLocationAddress":""}}`: "",
		`{"nfs":{"matchExportLocationAddress":"10.1.2.3/8"}}`: "10.0.0.0/8", `{"nfs":{"matchExportLocationAddress":"10.1.2.3"}}`: "10.1.2.3/32",
		`{"nfs":{"matchExportLocationAddress":"fd00::1"}}`: "fd00::1/128", `{"nfs": {"matchExportLocationAddress": "::/0"}}` + "\n": "::/0",
	} {
		got, err := params.ParseRuntime([]byte(in))
		if (want == "") == got.NFSLocations.IsValid() || want != "" && got.NFSLocations.String() != want || err != nil {
			t.Errorf("%s: %+v, %v; want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		``: "is expected", `[]`: "is expected", `{"nfs":{"matchExportLocationAdress":"10.0.0.0/8"}}`: "matchExportLocationAdress", `{"nfs":{}} {}`: "after the JSON",
		`{"nfs":{"matchExportLocationAddress":"10.0.0.0/33"}}`: "10.0.0.0/33", `{"nfs":{"matchExportLocationAddress":"fe80::1%eth0"}}`: "fe80::1%eth0", `{"nfs":{"matchExportLocationAddress":"nfs.example.org"}}`: "nfs.example.org",
	} {
		if got, err := params.ParseRuntime([]byte(in)); !errors.Is(err, params.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", in, got, err, want)
		}
	}
}

func TestRuntimeFile(t *testing.T) {
	t.Parallel()
	if got, err := (params.RuntimeFile{}).Read(); err != nil || got.NFSLocations.IsValid() {
		t.Errorf("without a file: %+v, %v", got, err)
	}
	content, missing := `{"nfs":{"matchExportLocationAddress":"10.0.0.0/8"}}`, error(nil)
	f := params.RuntimeFile{Path: "/etc/runtime.json", ReadFile: func(string) ([]byte, error) { return []byte(content), missing }}
	for _, want := range []string{"10.0.0.0/8", "10.1.0.0/16"} {
		content = `{"nfs":{"matchExportLocationAddress":"` + want + `"}}`
		if got, err := f.Read(); err != nil || got.NFSLocations != netip.MustParsePrefix(want) {
			t.Errorf("%+v, %v; want %s", got, err, want)
		}
	}
	content = "{"
	if _, err := f.Read(); !errors.Is(err, params.ErrInvalid) || !strings.Contains(err.Error(), f.Path) {
		t.Errorf("a broken file: %v", err)
	}
	missing = fs.ErrNotExist
	if _, err := f.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// FuzzRuntime: no file panics, and a network that is understood is understood again as it is written.
func FuzzRuntime(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"nfs":{"matchExportLocationAddress":"10.1.2.3/8"}}`, `{"nfs":{"matchExportLocationAddress":"fd00::1"}}`, `{"nfs":{"matchExportLocationAddress":"::ffff:10.0.0.1/96"}}`,
		`{"nfs":{"matchExportLocationAddress":"fe80::1%eth0"}}`, `{"nfs":1}`, `{} {}`, `{"NFS":{}}`, `{"x":1}`, "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := params.ParseRuntime(data)
		switch {
		case err != nil && !errors.Is(err, params.ErrInvalid):
			t.Fatal(err)
		case err != nil || !got.NFSLocations.IsValid():
			return
		}
		again, err := params.ParseRuntime([]byte(`{"nfs":{"matchExportLocationAddress":"` + got.NFSLocations.String() + `"}}`))
		if err != nil || again != got {
			t.Fatalf("%q is %+v, and then %+v, %v", data, got, again, err)
		}
	})
}
