package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mooring/pkg/poll"
)

// Bounds of a call.
const (
	timeout  = 30 * time.Second
	longest  = 64 << 20 // bytes of an answer: a page of 500 things of 128 KiB
	attempts = 4        // of a call that only reads
	patience = 10 * time.Second
)

// The bodies that are sent.
const (
	asJSON       = "application/json"
	asJSONPatch  = "application/json-patch+json"  // RFC 6902
	asMergePatch = "application/merge-patch+json" // RFC 7386
	metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	metadataList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

// Client calls the API of one cluster. It has no state but its connections, and is safe for concurrent use.
type Client struct {
	base *url.URL
	http *http.Client
}

// call is one request.
type call struct {
	method, path string
	query        url.Values
	accept       string // empty: JSON
	contentType  string
	body         any
	secret       bool // what comes back is not repeated
}

func (c *call) operation() string { return c.method + " " + c.path }

// do makes a call and reads the answer into out, unless that is nil. What only reads is tried again when the server is busy or away.
func (c *Client) do(ctx context.Context, r *call, out any) error {
	backoff := poll.Backoff{First: 200 * time.Millisecond, Max: 2 * time.Second, Factor: 2, Jitter: 0.5}
	for n := 0; ; n++ {
		wait, err := c.once(ctx, r, out)
		again := r.method == http.MethodGet && n+1 < attempts && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrThrottled))
		if !again || ctx.Err() != nil {
			return err
		}
		if sleepErr := poll.Sleep(ctx, max(wait, backoff.Wait(n))); sleepErr != nil {
			return err
		}
	}
}

// once makes a call. wait is how long the server asks to be left alone.
func (c *Client) once(ctx context.Context, r *call, out any) (wait time.Duration, _ error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := c.request(ctx, r)
	if err != nil {
		return 0, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err // the address stands in Operation
		}
		return 0, &Error{Class: ErrUnavailable, Operation: r.operation(), Message: oneLine(err.Error()), Err: err}
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(response.Body, longest))
	if err != nil {
		return 0, &Error{Class: ErrUnavailable, Operation: r.operation(), Status: response.StatusCode, Message: "the answer broke off: " + oneLine(err.Error()), Err: err}
	}
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusMultipleChoices {
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		if err == nil && seconds > 0 {
			wait = min(time.Duration(seconds)*time.Second, patience)
		}
		return wait, failed(r.operation(), response.StatusCode, body, r.secret)
	}
	var answer struct {
		Kind string `json:"kind"`
	}
	if out == nil {
		out = &answer
	}
	if err := json.Unmarshal(body, out); err != nil || out == &answer && answer.Kind == "" {
		return 0, &Error{Class: ErrUnavailable, Operation: r.operation(), Status: response.StatusCode, Message: "the answer is not what the API server would say"}
	}
	return 0, nil
}

func (c *Client) request(ctx context.Context, r *call) (*http.Request, error) {
	target := c.base.JoinPath(r.path)
	target.RawQuery = r.query.Encode()
	var body io.Reader = http.NoBody
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.operation(), err)
		}
		body = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, r.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.operation(), err)
	}
	request.Header.Set("Accept", asJSON)
	if r.accept != "" {
		request.Header.Set("Accept", r.accept)
	}
	if r.body != nil {
		request.Header.Set("Content-Type", r.contentType)
	}
	return request, nil
}

// path puts a name into a path.
func path(parent, name string) string { return parent + "/" + url.PathEscape(name) }
