package externaldns_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/designate"
	"mooring/pkg/designate/externaldns"
)

// What no ExternalDNS sends does no harm: it is no mixture of two records, and takes no memory that the size of the body does not tell.
func TestOddBodies(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body   string
		status int
		create []designate.Record
	}{
		"a list twice": {
			`{"create": [{"dnsName": "a", "targets": ["192.0.2.1"]}], "create": [{"dnsName": "b"}]}`, http.StatusNoContent, []designate.Record{{Name: "b"}},
		},
		"millions of nothing": {`{"create": [` + strings.Repeat("{},", 2<<20) + `{}]}`, http.StatusInternalServerError, nil},
		"deep":                {`{"create": ` + strings.Repeat("[", 1<<20), http.StatusBadRequest, nil},
		"a TTL beyond all":    {`{"create": [{"dnsName": "a", "recordTTL": 9223372036854775808}]}`, http.StatusBadRequest, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &domain{}
			h, err := externaldns.NewHandler(externaldns.Options{Provider: d, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/records", strings.NewReader(test.body)))
			var created []designate.Record
			for _, c := range d.applied {
				created = append(created, c.Create...)
			}
			if diff := cmp.Diff(test.create, created); diff != "" || w.Code != test.status {
				t.Errorf("%d %s, -want +got:\n%s", w.Code, w.Body, diff)
			}
		})
	}
}
