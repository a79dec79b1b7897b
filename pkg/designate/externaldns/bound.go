package externaldns

import (
	"fmt"
	"net/http"
	"time"
)

const (
	// atOnce is how many requests of one kind are at work at once: one ExternalDNS sends one, and bodies are large.
	atOnce = 4
	// patience is how long another waits for its turn. Then it is told to come again, before ExternalDNS stops waiting.
	patience = 5 * time.Second
)

// bounded lets a few requests through at once.
func bounded(act action) action {
	slots := make(chan struct{}, atOnce)
	return func(r *http.Request) (reply, error) {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			return act(r)
		case <-timer.C:
			return reply{}, fmt.Errorf("%w: %d requests like this one are at work", errBusy, atOnce)
		case <-r.Context().Done():
			return reply{}, r.Context().Err()
		}
	}
}
