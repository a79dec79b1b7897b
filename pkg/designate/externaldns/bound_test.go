package externaldns_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mooring/pkg/designate/externaldns"
)

// However many requests come, a few are at work; the others wait for a while, and are told to come again before ExternalDNS gives up.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var mu sync.Mutex
		now, most := 0, 0
		d := &domain{applying: func(context.Context) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-release
			mu.Lock()
			defer mu.Unlock()
			now--
			return nil
		}}
		h := newHandler(t, d, nil)
		statuses := make(chan int, 20)
		begin := time.Now()
		for range 20 {
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/records", strings.NewReader("{}")))
				statuses <- w.Code
			}()
		}
		synctest.Wait()
		if w := do(t, h, http.MethodGet, "/", "", "Accept", externaldns.MediaType); w.Code != http.StatusOK {
			t.Errorf("the negotiation gets %d meanwhile", w.Code)
		}
		if w := do(t, h, http.MethodPost, "/adjustendpoints", "[]"); w.Code != http.StatusOK {
			t.Errorf("another kind of request gets %d meanwhile", w.Code)
		}
		for range 16 {
			if status := <-statuses; status != http.StatusServiceUnavailable {
				t.Errorf("%d, want 503", status)
			}
		}
		if took := time.Since(begin); took > 10*time.Second || most != 4 {
			t.Errorf("refused after %v, %d at work at once", took, most)
		}
		close(release)
		for range 4 {
			if status := <-statuses; status != http.StatusNoContent {
				t.Errorf("%d, want 204", status)
			}
		}
	})
}
