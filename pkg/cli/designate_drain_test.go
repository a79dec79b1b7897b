package cli

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mooring/pkg/openstack/openstacksim"
)

// SIGTERM in the middle of an apply: within the drain time it is finished; a shorter one still has an answer, which says how far it came.
func TestDesignateWebhookDrains(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		drain  string
		status []int
		says   string
	}{
		"in time":  {"30s", []int{http.StatusNoContent}, ""},
		"too long": {"1500ms", []int{http.StatusServiceUnavailable}, "of 60 changes done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, err := openstacksim.Start(openstacksim.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(sim.Close)
			sim.Designate.Fill("demo", "example.org.", 2)
			creates := openstacksim.CallFilter{Service: openstacksim.ServiceDesignate, Method: http.MethodPost}
			sim.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceDesignate, Method: http.MethodPost, Delay: 150 * time.Millisecond})
			w := newWorld()
			w.files["clouds.yaml"] = string(sim.CloudsYAML())
			stop := started(t, w, append(modeArgs(t, "designate-webhook"), "--drain-timeout="+test.drain)...)
			w.waitFor(t, "webhook listens")
			var list []string
			for i := range 60 {
				list = append(list, fmt.Sprintf(`{"dnsName": "h%d.example.org", "recordType": "A", "targets": ["192.0.2.1"]}`, i))
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for sim.Calls.Count(creates) < 4 {
					time.Sleep(5 * time.Millisecond)
				}
				stop()
			}()
			status, body := w.webhook(t, http.MethodPost, "/records", `{"create": [`+strings.Join(list, ",")+`]}`)
			if status != test.status[0] || !strings.Contains(body, test.says) {
				t.Errorf("%d %s, want %d with %q", status, body, test.status[0], test.says)
			}
			<-ended
			after := sim.Calls.Count(creates)
			time.Sleep(300 * time.Millisecond)
			if late := sim.Calls.Count(creates) - after; late != 0 || (status == http.StatusNoContent) != (after == 60) {
				t.Errorf("%d writes, and %d after the end", after, late)
			}
		})
	}
}
