package manila_test

import (
	"testing"

	"mooring/pkg/manila"
)

func TestFileSystem(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{"": "", "fs=cephfs": "cephfs", "noatime, fs=fs-2": "fs-2", "nofs=x": "", "fs": "", "fs=": ""} {
		s := manila.Share{Metadata: map[string]string{manila.MountOptionsKey: options}}
		if got := s.FileSystem(); got != want {
			t.Errorf("%q: %q, want %q", options, got, want)
		}
	}
}
