package etcd_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"mooring/pkg/etcd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member plays one of etcd, with objects of one size, and faults.
type member struct {
	etcdserverpb.UnimplementedKVServer
	etcdserverpb.UnimplementedAuthServer

	keys     []string // in order
	size     int      // of each value
	cluster  uint64
	password string // empty: no authentication

	mu     sync.Mutex
	errs   []error // of the next calls
	calls  []*etcdserverpb.RangeRequest
	logins int
	// counted is how many keys it went through, as etcd does: all of a request, whatever its limit.
	counted int
}

func (m *member) Authenticate(_ context.Context, r *etcdserverpb.AuthenticateRequest) (*etcdserverpb.AuthenticateResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logins++
	if r.GetName() != "reader" || r.GetPassword() != m.password {
		return nil, rpctypes.ErrGRPCAuthFailed
	}
	return &etcdserverpb.AuthenticateResponse{Token: "token-" + strconv.Itoa(m.logins)}, nil
}

func (m *member) Range(ctx context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, r)
	if m.password != "" {
		md, _ := metadata.FromIncomingContext(ctx)
		if got := md.Get("token"); len(got) != 1 || got[0] != "token-"+strconv.Itoa(m.logins) {
			return nil, rpctypes.ErrGRPCInvalidAuthToken
		}
	}
	if len(m.errs) > 0 {
		err := m.errs[0]
		m.errs = m.errs[1:]
		if err != nil {
			return nil, err
		}
	}
	out := &etcdserverpb.RangeResponse{Header: &etcdserverpb.ResponseHeader{Revision: 50 + int64(len(m.calls)), ClusterId: m.cluster}}
	from, _ := slices.BinarySearch(m.keys, string(r.GetKey()))
	to, _ := slices.BinarySearch(m.keys, string(r.GetRangeEnd()))
	out.Count = int64(to - from)
	m.counted += to - from
	out.More = to-from > int(r.GetLimit())
	for _, key := range m.keys[from:min(to, from+int(r.GetLimit()))] {
		out.Kvs = append(out.GetKvs(), &mvccpb.KeyValue{Key: []byte(key), Value: make([]byte, m.size), ModRevision: 7})
	}
	return out, nil
}

// serve returns its endpoint.
func (m *member) serve(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	etcdserverpb.RegisterKVServer(server, m)
	etcdserverpb.RegisterAuthServer(server, m)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return "http://" + listener.Addr().String()
}

func keys(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("/registry/secrets/%06d", i))
	}
	return out
}

// read reads all below /registry/, and closes the client.
func read(t *testing.T, o *etcd.Options) (got []string, revision int64, err error) {
	t.Helper()
	client, err := etcd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}()
	revision, err = client.Objects(t.Context(), "/registry/", func(o etcd.Object) error {
		got = append(got, string(o.Key))
		return nil
	})
	return got, revision, err
}

func TestPagesAreOfOneRevision(t *testing.T) {
	t.Parallel()
	m := &member{keys: append([]string{"/registry", "/registry.", "/registry/"}, append(keys(12_345), "/registry0", "/registryx/a")...), size: 100}
	got, revision, err := read(t, &etcd.Options{Endpoints: []string{m.serve(t)}})
	if err != nil || revision != 51 || !slices.Equal(got, append([]string{"/registry/"}, keys(12_345)...)) {
		t.Errorf("%d objects, revision %d, %v", len(got), revision, err)
	}
	for i, call := range m.calls {
		if want := int64(51); (i > 0 && call.GetRevision() != want) || (i == 0 && call.GetRevision() != 0) || call.GetSerializable() || call.GetLimit() > 5000 {
			t.Errorf("call %d: %v", i, call)
		}
	}
	if len(m.calls) > 20 {
		t.Errorf("%d calls: pages of small objects have to grow", len(m.calls))
	}
}

// TestCallsAndWorkAreLinear: whatever the keys are like, each is visited once, and etcd does not go through them again with every page.
func TestCallsAndWorkAreLinear(t *testing.T) {
	t.Parallel()
	const n = 40_000
	random := rand.New(rand.NewPCG(1, 2)) // the same keys each time
	shapes := map[string]func(i int) string{
		"numbers":             func(i int) string { return fmt.Sprintf("/registry/secrets/%07d", i) },
		"namespaces":          func(i int) string { return fmt.Sprintf("/registry/secrets/namespace-%03d/a-secret-%07d", i%997, i) },
		"one large namespace": func(i int) string { return fmt.Sprintf("/registry/secrets/namespace-%03d/s-%07d", max(0, i-n+50), i) },
		"random names":        func(int) string { return fmt.Sprintf("/registry/pods/default/app-%016x", random.Uint64()) },
		"bytes of any value":  func(int) string { return "/registry/" + string(binary.BigEndian.AppendUint64(nil, random.Uint64())) },
		"only 0x00 and 0xff": func(i int) string {
			return "/registry/" + strings.NewReplacer("0", "\x00", "1", "\xff").Replace(strconv.FormatInt(int64(i), 2))
		},
		"many resources, one large": func(i int) string {
			if i < n/100 {
				return fmt.Sprintf("/registry/%c%c/default/%d", 'a'+i%26, 'a'+i/26, i)
			}
			return fmt.Sprintf("/registry/zz/default/%d", i)
		},
	}
	for name, key := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &member{size: 2000}
			for i := range n {
				m.keys = append(m.keys, key(i))
			}
			slices.Sort(m.keys)
			m.keys = slices.Compact(m.keys)
			got, _, err := read(t, &etcd.Options{Endpoints: []string{m.serve(t)}})
			if err != nil || !slices.Equal(got, m.keys) {
				t.Errorf("%d objects, %v", len(got), err)
			}
			t.Logf("%d calls, %.1f keys gone through per key", len(m.calls), float64(m.counted)/n)
			if len(m.calls) > 300 || m.counted > 9*n {
				t.Errorf("%d calls, %d keys gone through", len(m.calls), m.counted)
			}
		})
	}
}

// TestLargeObjects: pages keep small in bytes, and those that are too large are asked for again.
func TestLargeObjects(t *testing.T) {
	t.Parallel()
	m := &member{keys: keys(60), size: 1 << 20}
	got, _, err := read(t, &etcd.Options{Endpoints: []string{m.serve(t)}})
	if err != nil || !slices.Equal(got, keys(60)) {
		t.Errorf("%d objects, %v", len(got), err)
	}
	m = &member{keys: keys(2), size: 17 << 20}
	if _, _, err := read(t, &etcd.Options{Endpoints: []string{m.serve(t)}}); err == nil || !strings.Contains(err.Error(), `from key "/registry/": etcd at http://`) {
		t.Errorf("an object that no etcd should have: %v", err)
	}
}

func TestMembersThatFail(t *testing.T) {
	t.Parallel()
	dead := "127.0.0.1:1"
	away := status.Error(codes.Unavailable, "etcdserver: leader changed")
	m := &member{keys: keys(500), errs: []error{away, nil, away, away, away, away, away}}
	got, revision, err := read(t, &etcd.Options{Endpoints: []string{dead, m.serve(t)}})
	if err == nil || revision == 0 || !strings.Contains(err.Error(), "leader changed") || !strings.Contains(err.Error(), "etcd at 127.0.0.1:1: Unavailable") {
		t.Errorf("%d objects, revision %d, %v", len(got), revision, err)
	}
	m.errs = []error{away, away}
	if got, _, err := read(t, &etcd.Options{Endpoints: []string{dead, m.serve(t)}}); err != nil || len(got) != 500 {
		t.Errorf("%d objects, %v", len(got), err)
	}
	a, b := &member{keys: keys(500), cluster: 1, errs: []error{nil, away, away, away, away}}, &member{keys: keys(500), cluster: 2}
	if _, _, err := read(t, &etcd.Options{Endpoints: []string{a.serve(t), b.serve(t)}}); err == nil || !strings.Contains(err.Error(), "different clusters") {
		t.Error(err)
	}
	c := &member{keys: keys(500), errs: []error{nil, rpctypes.ErrGRPCCompacted}}
	if got, revision, err := read(t, &etcd.Options{Endpoints: []string{c.serve(t)}}); !errors.Is(err, etcd.ErrCompacted) || revision != 51 || len(got) != 100 {
		t.Errorf("%d objects, revision %d, %v", len(got), revision, err)
	}
	d := &member{errs: []error{rpctypes.ErrGRPCPermissionDenied}}
	if _, _, err := read(t, &etcd.Options{Endpoints: []string{d.serve(t)}}); err == nil || !strings.Contains(err.Error(), "permission denied") || len(d.calls) != 1 {
		t.Errorf("%d calls, %v", len(d.calls), err)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	m := &member{keys: keys(500), password: "secret", errs: []error{nil, rpctypes.ErrGRPCInvalidAuthToken}} // it has run out on the way
	endpoint := m.serve(t)
	if got, _, err := read(t, &etcd.Options{Endpoints: []string{endpoint}, User: "reader", Password: "secret"}); err != nil || len(got) != 500 || m.logins != 2 {
		t.Errorf("%d objects, %d logins, %v", len(got), m.logins, err)
	}
	_, _, err := read(t, &etcd.Options{Endpoints: []string{endpoint}, User: "reader", Password: "hunter2"})
	if err == nil || !strings.Contains(err.Error(), "authentication failed") || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	if _, _, err := read(t, &etcd.Options{Endpoints: []string{endpoint}}); status.Code(err) == codes.OK || !strings.Contains(err.Error(), "invalid auth token") {
		t.Error(err)
	}
}

func TestVisitorAndContextEndIt(t *testing.T) {
	t.Parallel()
	m := &member{keys: keys(500)}
	client, err := etcd.New(&etcd.Options{Endpoints: []string{m.serve(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // it is closed for the goroutines alone
	enough := errors.New("enough")
	if revision, err := client.Objects(t.Context(), "/registry/", func(etcd.Object) error { return enough }); !errors.Is(err, enough) || revision == 0 {
		t.Errorf("%d, %v", revision, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err = client.Objects(ctx, "/registry/", func(etcd.Object) error {
		n++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || n != 100 {
		t.Errorf("%d objects, %v", n, err)
	}
}

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		address  string
		security etcd.Security
	}{
		"https://etcd-1:2379": {"etcd-1:2379", etcd.Secure}, "http://127.0.0.1:2379/": {"127.0.0.1:2379", etcd.Plain}, "etcd:2379": {"etcd:2379", etcd.Unsaid},
		"[::1]:2379": {"[::1]:2379", etcd.Unsaid}, "https://[fd00::1]:2379": {"[fd00::1]:2379", etcd.Secure},
		"": {}, "etcd": {}, "https://etcd": {}, "unix:///run/etcd.sock": {}, "ftp://etcd:21": {}, "https://user:secret@etcd:2379": {}, "https://etcd:2379/v3": {}, ":2379": {}, "etcd:": {}, "user:secret@etcd:2379": {}, "secret@etcd:2379": {}, "etcd/v3:2379": {}, "a b:1": {},
	} {
		address, security, err := etcd.ParseEndpoint(text)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
		if address != want.address || security != want.security || (err != nil) != (want.address == "") {
			t.Errorf("%q: %q, %v, %v", text, address, security, err)
		}
	}
	if _, err := etcd.New(&etcd.Options{}); err == nil {
		t.Error("a client without an endpoint")
	}
	if _, err := etcd.New(&etcd.Options{Endpoints: []string{"etcd:2379", "etcd"}}); err == nil {
		t.Error("a client with an endpoint that is none")
	}
}
