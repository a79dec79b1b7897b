package cli

import (
	"strings"
	"testing"
)

// TestClaimAnnotationsNeedACluster: a controller that is told to read claims, and can't, says so and does not start.
func TestClaimAnnotationsNeedACluster(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.files["clouds.yaml"] = "clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:1/v3', token: t}}}"
	if code := w.main(append(modeArgs(t, "manila-controller"), "--claim-annotations")...); code != exitFailure || !strings.Contains(w.errs.String(), "--claim-annotations: no Kubernetes cluster is named") {
		t.Errorf("exit %d:\n%s", code, w.errs.String())
	}
}
