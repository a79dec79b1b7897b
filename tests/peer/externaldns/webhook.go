package externaldns

import (
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"mooring/tests/peer/process"
)

// StartWebhook runs the mode designate-webhook as a process on a free port of loopback, as a user of a clouds.yaml, and returns its URL. It ends
// with the test, and has to end well.
func StartWebhook(t *testing.T, cloudsFile, cloud string, args ...string) (url string, p *process.Process) {
	t.Helper()
	p, err := process.Start(t.Context(), "designate-webhook", filepath.Join(process.Programs(t), "mooring"), nil,
		append([]string{"designate-webhook", "--listen", "127.0.0.1:0", "--clouds-file", cloudsFile, "--os-cloud", cloud}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if code, err := p.Stop(30 * time.Second); err != nil || code != 0 {
			t.Errorf("SIGTERM: exit code %d, %v", code, err)
		}
		if t.Failed() {
			t.Log(p.Output())
		}
	})
	line, err := p.Said(t.Context(), "webhook listens")
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line), p
}
