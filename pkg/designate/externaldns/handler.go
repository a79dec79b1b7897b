package externaldns

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mooring/pkg/designate"
)

// MediaType is the one media type of the protocol. ExternalDNS compares it as a string.
const MediaType = mediaType + ";version=" + mediaVersion

const mediaType, mediaVersion = "application/external.dns.webhook+json", "1"

// DefaultMaxBody bounds a request. A hundred thousand endpoints are some 30 MB.
const DefaultMaxBody = 64 << 20

// maxObjects bounds the objects in a request: an endpoint has two, with its labels, and is never as short as this makes it. An empty one takes three bytes in a
// request and two hundred in memory.
const maxObjects = DefaultMaxBody / 32

// provider is what the edge needs of the domain: *designate.Service has it.
type provider interface {
	Stream(ctx context.Context) (iter.Seq[designate.Record], error)
	Adjust(r designate.Record) (designate.Record, error)
	Apply(ctx context.Context, c designate.Changes) (designate.Result, error)
}

// Options set up a Handler.
type Options struct {
	Provider provider
	// Filter is the domain filter that the negotiation returns; nil matches everything.
	Filter *Filter
	// MaxBody bounds a request body in bytes; zero is DefaultMaxBody.
	MaxBody int64
	Logger  *slog.Logger
	// Registerer gets the metrics; nil means none.
	Registerer prometheus.Registerer
}

// Handler serves the webhook protocol:
//
//	GET  /                 200  the domain filter; asks nobody, so it works while Keystone is away
//	GET  /records          200  every record, as endpoints
//	POST /adjustendpoints  200  the endpoints in canonical form
//	POST /records          204  applies changes
//
// An error has a status of the table in errors.go and a JSON body {"error": "…"}. A 4xx makes ExternalDNS exit, so it says only that the request is not
// one of the protocol. Whatever somebody can make a source of ExternalDNS want, be it a negative TTL, a type that there is not or a name of a
// megabyte, is well-formed: it fails alone, and softly.
type Handler struct {
	options Options
	filter  []byte
	mux     *http.ServeMux
	metrics *metrics
}

// NewHandler makes a Handler. It fails when the filter can't be written as JSON.
func NewHandler(o Options) (*Handler, error) {
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.Filter == nil {
		o.Filter = NewFilter(nil, nil) // a nil pointer would be written as null
	}
	filter, err := json.Marshal(o.Filter)
	if err != nil {
		return nil, fmt.Errorf("domain filter: %w", err)
	}
	h := &Handler{options: o, filter: filter, mux: http.NewServeMux(), metrics: newMetrics(o.Registerer)}
	h.mux.HandleFunc("/{$}", h.route(map[string]action{http.MethodGet: h.negotiate}))
	h.mux.HandleFunc("/records", h.route(map[string]action{http.MethodGet: bounded(h.getRecords), http.MethodPost: bounded(h.applyChanges)}))
	h.mux.HandleFunc("/adjustendpoints", h.route(map[string]action{http.MethodPost: bounded(h.adjustEndpoints)}))
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// reply is a good answer; without a body it has no media type.
type reply struct {
	status int
	body   []byte
	stream func(io.Writer) error // writes a body that is too large to be made first; its error is that of the client who went
}

type action func(r *http.Request) (reply, error)

// route picks the action of a method, and writes and logs its answer.
func (h *Handler) route(actions map[string]action) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		act, ok := actions[r.Method]
		if !ok && r.Method == http.MethodHead {
			act, ok = actions[http.MethodGet]
		}
		answer, err := reply{}, fmt.Errorf("%w: %s %s", errUnsupported, r.Method, r.URL.Path)
		if ok {
			r.Body = http.MaxBytesReader(w, r.Body, h.options.MaxBody)
			answer, err = act(r)
			h.metrics.answered(r, cmp.Or(answer.status, statusOf(err)))
		}
		if err != nil {
			h.fail(w, r, err)
			return
		}
		h.options.Logger.DebugContext(r.Context(), "request", slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", answer.status),
			slog.Duration("took", time.Since(begin)))
		if answer.body != nil || answer.stream != nil {
			w.Header().Set("Content-Type", MediaType)
		}
		w.WriteHeader(answer.status)
		if answer.stream != nil {
			_ = answer.stream(w)
		} else {
			_, _ = w.Write(answer.body) // the client may have gone
		}
	}
}

// fail writes an error, and logs it: here and nowhere else.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	level := slog.LevelError
	if status == http.StatusServiceUnavailable || status < http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	h.options.Logger.Log(r.Context(), level, "request failed", slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", status), slog.Any("error", err))
	body, marshalErr := json.Marshal(map[string]string{"error": err.Error()})
	if marshalErr != nil {
		body = []byte(`{"error":"unknown"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may have gone
}

func (h *Handler) negotiate(r *http.Request) (reply, error) {
	if err := acceptable(r); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: h.filter}, nil
}

func (h *Handler) getRecords(r *http.Request) (reply, error) {
	if err := acceptable(r); err != nil {
		return reply{}, err
	}
	all, err := h.options.Provider.Stream(r.Context())
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, stream: func(w io.Writer) error { return writeEndpoints(w, all) }}, nil
}

// writeEndpoints writes records as a JSON array of endpoints, one by one: there may be a hundred thousand.
func writeEndpoints(w io.Writer, all iter.Seq[designate.Record]) error {
	const size = 64 << 10
	out := bufio.NewWriterSize(w, size)
	before := byte('[')
	for r := range all {
		body, err := json.Marshal(shown(r))
		if err != nil {
			return err
		}
		_ = out.WriteByte(before) // a writer that has failed goes on to
		if _, err := out.Write(body); err != nil {
			return err
		}
		before = ','
	}
	if before == '[' {
		_ = out.WriteByte(before)
	}
	_, _ = out.WriteString("]\n")
	return out.Flush()
}

func (h *Handler) adjustEndpoints(r *http.Request) (reply, error) {
	if err := acceptable(r); err != nil {
		return reply{}, err
	}
	var wanted []*endpoint
	if err := decode(r, &wanted); err != nil {
		return reply{}, err
	}
	out := make([]*endpoint, 0, len(wanted))
	for _, e := range wanted {
		if e == nil {
			continue
		}
		rec, err := h.options.Provider.Adjust(record(e))
		if err != nil {
			// It stays in the list: what is not wanted is deleted. Applying it will fail, and only it.
			h.options.Logger.WarnContext(r.Context(), "a wanted record can't be written", slog.Any("error", err))
		}
		out = append(out, adjusted(e, rec))
	}
	return jsonReply(out)
}

func (h *Handler) applyChanges(r *http.Request) (reply, error) {
	var c changeSet
	if err := decode(r, &c); err != nil {
		return reply{}, err
	}
	result, err := h.options.Provider.Apply(r.Context(), changes(&c))
	if err != nil {
		return reply{}, err
	}
	h.options.Logger.InfoContext(r.Context(), "changes applied", slog.Int("written", result.Done), slog.Int("already_so", result.Same),
		slog.Int("left_alone", len(result.Skipped)), slog.Bool("dry_run", result.DryRun))
	return reply{status: http.StatusNoContent}, nil
}

func jsonReply(v any) (reply, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return reply{}, fmt.Errorf("writing the answer: %w", err)
	}
	return reply{status: http.StatusOK, body: append(body, '\n')}, nil
}

// acceptable refuses a client that wants another version of the protocol. Clients that don't say what they want are served.
func acceptable(r *http.Request) error {
	accept := r.Header.Get("Accept")
	if accept == "" {
		return nil
	}
	for part := range strings.SplitSeq(accept, ",") {
		accepted, params, err := mime.ParseMediaType(part)
		if err == nil && (accepted == "*/*" || accepted == "application/*" || ours(accepted, params)) {
			return nil
		}
	}
	return fmt.Errorf("%w: %q; this provider speaks %s", errAcceptable, accept, MediaType)
}

// ours says whether a media type is the protocol's, of its version or without one.
func ours(given string, params map[string]string) bool {
	version := params["version"]
	return given == mediaType && (version == mediaVersion || version == "")
}

// decode reads a JSON body of the protocol's media type, one value and nothing after it.
func decode(r *http.Request, v any) error {
	if contentType := r.Header.Get("Content-Type"); contentType != "" {
		given, params, err := mime.ParseMediaType(contentType)
		if err != nil || given != "application/json" && !ours(given, params) {
			return fmt.Errorf("%w: %q; this provider speaks %s", errMediaType, contentType, MediaType)
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return fmt.Errorf("%w: more than %d bytes", errTooLarge, tooLarge.Limit)
		}
		return fmt.Errorf("reading the body: %w", err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return fmt.Errorf("%w: the body is empty", errMalformed)
	}
	if objects := bytes.Count(body, []byte("{")); objects > maxObjects {
		return fmt.Errorf("%w: %d objects, at most %d are read", errTooLarge, objects, maxObjects)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}
