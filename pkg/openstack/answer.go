package openstack

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"mooring/pkg/logging"
)

const (
	// maxBody bounds, in bytes, an answer: a page of a list has a few megabytes at most.
	maxBody = 16 << 20
	// maxErrorBody bounds, in bytes, what is read of an error's body: its words stand at the beginning.
	maxErrorBody = 64 << 10
	// restTimeout is how long is waited for a body that is not worth much: an error's, or one that nobody wants.
	restTimeout = 2 * time.Second
	// shortestSecret is how many bytes a secret has at least to be looked for: a shorter one would be found everywhere.
	shortestSecret = 4
)

var errLongAnswer = errors.New("the answer is too long")

// discard reads a little of a body that nobody wants, so that its connection can be used again.
func discard(resp *http.Response) {
	if resp != nil {
		_ = readRest(resp)
	}
}

// readRest returns the first bytes of a body and closes it. It does not wait for a service that sends headers and then nothing.
func readRest(resp *http.Response) []byte {
	if b, ok := resp.Body.(*cancelBody); ok {
		timer := time.AfterFunc(restTimeout, b.cancel)
		defer timer.Stop()
	}
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what was read until an error is as good as it gets
	_ = resp.Body.Close()
	return data
}

// tame bounds the body of an error, in size and time, and takes out secrets that the service, or a proxy before it, repeats.
func tame(resp *http.Response, secrets []string) {
	if resp == nil || resp.StatusCode < http.StatusBadRequest {
		return
	}
	data := readRest(resp)
	for _, secret := range secrets {
		if len(secret) < shortestSecret {
			continue
		}
		data = bytes.ReplaceAll(data, []byte(secret), []byte(logging.Redacted))
		if quoted, err := json.Marshal(secret); err == nil {
			data = bytes.ReplaceAll(data, quoted[1:len(quoted)-1], []byte(logging.Redacted))
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
}

// followRedirect lets a call follow a redirect only to where it was meant to go, since the token, or a login's password, goes
// along: the same server, or the same host with TLS. What is not followed is the caller's answer.
func followRedirect(next *http.Request, via []*http.Request) error {
	const most = 3
	from := via[0]
	same := next.URL.Scheme == from.URL.Scheme && next.URL.Host == from.URL.Host
	secured := from.URL.Scheme == "http" && next.URL.Scheme == "https" && next.URL.Hostname() == from.URL.Hostname()
	if (!same && !secured) || next.Method != from.Method || len(via) > most {
		return http.ErrUseLastResponse
	}
	return nil
}
