package openstacksim

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Where the services live below the cloud's URL: one port for all, as many clouds have it behind a proxy.
const (
	pathKeystone  = "/identity"
	pathManila    = "/share"
	pathBarbican  = "/key-manager"
	pathDesignate = "/dns"
	pathNeutron   = "/networking"
	pathOctavia   = "/load-balancer"
)

// maxBody bounds what a request may send, so that a runaway test can't eat the memory.
const maxBody = 4 << 20

// route is one operation of a service. The pattern is a net/http ServeMux pattern below the service's prefix.
type route struct {
	pattern string
	handle  func(w *reply, r *request)
	public  bool // needs no token: version documents and logins
}

// request is an HTTP request together with who sent it.
type request struct {
	*http.Request
	id      string // "req-…", the OpenStack request id
	user    string // user id; empty on public routes
	project string // project id
	roles   []string
	login   string // who logs in with this request
}

func (r *request) admin() bool { return slices.Contains(r.roles, "admin") }

// decode reads a JSON body into v. Its error is meant for a 400.
func (r *request) decode(v any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return errors.New("the request has no body")
	}
	return json.Unmarshal(body, v)
}

// reply collects an answer. It is sent when the handler has returned, so that a fault can still swallow it.
type reply struct {
	header http.Header
	status int
	body   []byte
}

func (w *reply) json(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // what handlers pass are maps and structs of plain values
		status, body = http.StatusInternalServerError, []byte(`{"error":"openstacksim: `+strconv.Quote(err.Error())+`"}`)
	}
	w.raw(status, "application/json", body)
}

func (w *reply) raw(status int, contentType string, body []byte) {
	w.status, w.body = status, body
	w.header.Set("Content-Type", contentType)
}

func (w *reply) noContent(status int) { w.status, w.body = status, nil }

// service is what the HTTP layer needs to know of one simulated service.
type service struct {
	name            string
	prefix          string
	requestIDHeader string
	routes          []route
}

func (c *Cloud) handler() http.Handler {
	mux := http.NewServeMux()
	for _, s := range []service{
		{ServiceKeystone, pathKeystone, "X-Openstack-Request-Id", c.Keystone.routes()},
		{ServiceManila, pathManila, "X-Compute-Request-Id", c.Manila.routes()},
		{ServiceBarbican, pathBarbican, "X-Openstack-Request-Id", c.Barbican.routes()},
		{ServiceDesignate, pathDesignate, "X-Openstack-Request-Id", c.Designate.routes()},
		{ServiceNeutron, pathNeutron, "X-Openstack-Request-Id", c.Neutron.routes()},
		{ServiceOctavia, pathOctavia, "X-Openstack-Request-Id", c.Octavia.routes()},
	} {
		h := c.serve(s)
		mux.Handle(s.prefix+"/", http.StripPrefix(s.prefix, h))
		mux.HandleFunc(s.prefix, func(w http.ResponseWriter, r *http.Request) { // clients ask for versions with and without the slash
			r.URL.Path = "/"
			h.ServeHTTP(w, r)
		})
	}
	mux.Handle(pathControl+"/", c.control())
	return mux
}

// serve is the way of every call: fault, token, handler, fault, answer, log.
func (c *Cloud) serve(s service) http.Handler {
	routes := http.NewServeMux()
	for _, rt := range s.routes {
		routes.Handle(rt.pattern, boundRoute{rt})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		begin := time.Now()
		r := &request{Request: hr, id: newRequestID()}
		hr.Body = http.MaxBytesReader(w, hr.Body, maxBody)
		path, query := hr.URL.Path, hr.URL.RawQuery // before a handler can change them
		answer := &reply{header: http.Header{}, status: http.StatusOK}
		fault, hit := c.Faults.match(s.name, hr.Method, path)
		if hit && !c.hold(hr, fault) {
			return // the client went away, or the cloud closed
		}
		switch {
		case hit && fault.Drop:
		case hit && fault.Status != 0:
			fault.answer(answer)
		default:
			fault.before(hr)
			c.dispatch(s, routes, answer, r)
			fault.acted()
		}
		dropped := hit && (fault.Drop || fault.DropAfter)
		call := Call{
			Login: r.login,
			Time:  begin, Service: s.name, Method: hr.Method, Path: path, Query: query, Status: answer.status,
			Duration: time.Since(begin), RequestID: r.id, RemoteAddr: hr.RemoteAddr,
		}
		if dropped {
			call.Status = 0
		}
		c.Calls.add(call)
		c.logger.DebugContext(hr.Context(), "call", slog.String("service", s.name), slog.String("method", hr.Method), slog.String("path", path),
			slog.Int("status", call.Status), slog.String("request_id", r.id))
		if dropped {
			drop(w)
			return
		}
		answer.header.Set(s.requestIDHeader, r.id)
		if answer.header.Get("Date") == "" {
			answer.header.Set("Date", c.now().UTC().Format(http.TimeFormat))
		}
		send(w, answer)
	})
}

func (c *Cloud) dispatch(s service, routes *http.ServeMux, answer *reply, r *request) {
	handler, _ := routes.Handler(r.Request)
	bound, ok := handler.(boundRoute)
	if !ok { // no such route: let the mux say 404, or 405 with its Allow header
		c.unrouted(s, handler, answer, r)
		return
	}
	if !bound.public && !c.Keystone.authenticate(answer, r) {
		return
	}
	// A ServeMux sets the path values only when it serves the request itself.
	routes.ServeHTTP(nopWriter{}, r.Request)
	bound.handle(answer, r)
}

func (c *Cloud) unrouted(s service, handler http.Handler, answer *reply, r *request) {
	rec := &statusWriter{header: http.Header{}, status: http.StatusOK}
	handler.ServeHTTP(rec, r.Request)
	if rec.status < http.StatusBadRequest { // the mux would redirect to a cleaned path: no OpenStack service does
		rec.status = http.StatusNotFound
	}
	maps.Copy(answer.header, rec.header)
	answer.json(rec.status, map[string]any{"error": map[string]any{
		"code": rec.status, "title": http.StatusText(rec.status), "message": s.name + " has no " + r.Method + " " + r.URL.Path,
	}})
}

// hold waits for as long as the fault says, or until the client or the cloud has gone, which is false.
func (c *Cloud) hold(r *http.Request, f Fault) bool {
	if f.Delay <= 0 {
		return true
	}
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	var removed <-chan struct{}
	if f.Delay == Held {
		removed = f.removed
	}
	select {
	case <-timer.C:
		return true
	case <-removed:
		return true
	case <-r.Context().Done():
		return false
	case <-c.ctx.Done():
		return false
	}
}

func send(w http.ResponseWriter, answer *reply) {
	w.Header().Set("Content-Length", strconv.Itoa(len(answer.body)))
	maps.Copy(w.Header(), answer.header) // a fault may promise more than comes: that is a connection which breaks off
	if answer.status == http.StatusNoContent {
		w.Header().Del("Content-Length")
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body) // the client may have gone
}

// drop closes the connection without an answer.
func drop(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, as a dying proxy sends it
	}
	_ = conn.Close()
}

// boundRoute lets a ServeMux match a route; the route itself is run by dispatch.
type boundRoute struct{ route }

func (boundRoute) ServeHTTP(http.ResponseWriter, *http.Request) {}

type nopWriter struct{}

func (nopWriter) Header() http.Header         { return http.Header{} }
func (nopWriter) Write(b []byte) (int, error) { return len(b), nil }
func (nopWriter) WriteHeader(int)             {}

type statusWriter struct {
	header http.Header
	status int
}

func (w *statusWriter) Header() http.Header         { return w.header }
func (w *statusWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *statusWriter) WriteHeader(status int)      { w.status = status }

// newID makes an id as Keystone does: 32 hex digits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// newUUID makes an id as the other services do: a version 4 UUID.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

func newRequestID() string { return "req-" + newUUID() }
