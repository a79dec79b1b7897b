package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"mooring/tests/peer/process"
)

// The demo is README's first command: it has to work, with all it checks by itself (one login per credential, nothing secret
// in any log at debug level, no call per operation of the KMS plugin, no write in an idle sync).
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := process.Programs(t)
	logs := t.TempDir()
	var out bytes.Buffer
	err := run(t.Context(), newTranscript(&out), filepath.Join(dir, "mooring"), filepath.Join(dir, "openstack-sim"), logs)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), " steps ok, 1 skipped, ") {
		t.Error("something besides the mount was skipped")
	}
	kept, err := filepath.Glob(filepath.Join(logs, "*.log"))
	if err != nil || len(kept) != 5 {
		t.Errorf("the logs kept: %v, %v", kept, err)
	}
}

// A demo that fails says what broke, and leaves no process behind.
func TestDemoFails(t *testing.T) {
	t.Parallel()
	dir := process.Programs(t)
	var out bytes.Buffer
	err := run(t.Context(), newTranscript(&out), "/bin/false", filepath.Join(dir, "openstack-sim"), "")
	if err == nil || !strings.Contains(err.Error(), "mooring manila-controller: ") || !strings.Contains(out.String(), "FAIL") {
		t.Errorf("got %v and:\n%s", err, out.String())
	}
}
