package barbican_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/pkg/barbican"
	"mooring/pkg/barbican/kms"
	"mooring/pkg/grpcserver"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/peercred"
	"mooring/tests/contract/target"
	"mooring/tests/peer/apiserver"
	"mooring/tests/peer/kmsplugin"
)

// The other contract: what kube-apiserver's own code wants of the plugin. These cases bring Barbican down and count its calls, so
// they run on a simulator always.

// cluster is a control-plane node: a cloud, a socket, and what runs on it.
type cluster struct {
	sim      *openstacksim.Cloud
	api      *api
	cred     *openstack.Credential
	endpoint string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	cloud := target.Simulate(t, openstacksim.Config{})
	return &cluster{
		sim: cloud.Sim, api: open(t, cloud.Session(t, "demo")), cred: cloud.Credential(t, "demo"), endpoint: "unix://" + filepath.Join(t.TempDir(), "kms.sock"),
	}
}

// key orders an AES-256 key.
func (c *cluster) key(t *testing.T) string {
	t.Helper()
	return path.Base(c.api.order(t, map[string]any{"name": target.Unique(t), "algorithm": "aes", "bit_length": 256}).text("secret_ref"))
}

func writer(secret string) barbican.Entry {
	return barbican.Entry{Ref: barbican.KeyRef{Secret: secret, Generation: 1}}
}

// plugin starts the plugin, with a login of its own, and returns how to stop it. It may be stopped twice.
func (c *cluster) plugin(t *testing.T, clusterID string, entries ...barbican.Entry) (stop func()) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	pool := openstack.NewPool(openstack.Options{})
	keys, err := barbican.New(barbican.NewClient(pool.Session(c.cred)), barbican.Options{Entries: entries, ClusterID: clusterID, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	server := grpcserver.New(grpcserver.Options{
		Logger: logger, Drain: time.Second, Describe: kms.Describe, Credentials: peercred.New(logger, []uint32{uint32(os.Geteuid())}),
	})
	kms.Register(server.GRPC(), keys)
	listener, err := grpcserver.Listen(t.Context(), c.endpoint, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- keys.Run(ctx) }()
	go func() { done <- server.Serve(ctx, listener) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, <-done, keys.Close()); err != nil {
			t.Error(err)
		}
		pool.Close()
	})
	t.Cleanup(stop)
	return stop
}

// serving waits until the plugin has its key: an API server that finds it without one asks again only after three seconds.
func (c *cluster) serving(t *testing.T) {
	t.Helper()
	client := c.raw(t)
	target.Eventually(t, "the plugin serves", func() bool {
		_, err := client.Status(t.Context(), &kmsapi.StatusRequest{}, grpc.WaitForReady(true))
		return err == nil
	})
}

// apiserver starts an API server on a plugin that serves; its cache is empty.
func (c *cluster) apiserver(t *testing.T) *apiserver.Server {
	t.Helper()
	c.serving(t)
	return c.apiserverNow(t)
}

func (c *cluster) apiserverNow(t *testing.T) *apiserver.Server {
	t.Helper()
	s, err := apiserver.Start(t.Context(), t.TempDir(), "mooring", c.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ready(t *testing.T, s *apiserver.Server) *apiserver.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// raw is a client of the plugin without the API server's patience.
func (c *cluster) raw(t *testing.T) kmsapi.KeyManagementServiceClient {
	t.Helper()
	conn, err := kmsplugin.Dial(strings.TrimPrefix(c.endpoint, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return kmsapi.NewKeyManagementServiceClient(conn)
}

// quickly makes calls, 20 ms apart, and wants an answer within 50 ms to half of them, whatever else the machine does.
func quickly(t *testing.T, calls int, call func()) {
	t.Helper()
	took := make([]time.Duration, calls)
	for i := range took {
		begin := time.Now()
		call()
		took[i] = time.Since(begin)
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(took)
	if p50 := took[len(took)/2]; p50 > 50*time.Millisecond {
		t.Errorf("a call takes %v", p50)
	}
}

const object = `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"},"data":{"password":"aHVudGVyMg=="}}`

func place(i int) string { return fmt.Sprintf("/registry/secrets/default/s%d", i) }

func write(t *testing.T, s *apiserver.Server, i int) []byte {
	t.Helper()
	stored, err := s.Write(t.Context(), place(i), []byte(object))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(stored), apiserver.Prefix+"mooring:") || bytes.Contains(stored, []byte("hunter")) || bytes.Contains(stored, []byte("aHVudGVyMg")) {
		t.Fatalf("stored: %q", stored)
	}
	return stored
}

func read(t *testing.T, s *apiserver.Server, i int, stored []byte, wantStale bool) {
	t.Helper()
	got, stale, err := s.Read(t.Context(), place(i), stored)
	if err != nil || string(got) != object || stale != wantStale {
		t.Fatalf("read %q, stale %v (want %v), %v", got, stale, wantStale, err)
	}
}

func TestKMSWriteAndRead(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	secret := c.key(t)
	c.sim.Calls.Reset()
	c.plugin(t, "c", writer(secret))
	first := ready(t, c.apiserver(t))
	if logins, fetches := c.sim.Calls.Logins(), c.sim.Calls.Count(openstacksim.CallFilter{Service: openstacksim.ServiceBarbican}); logins != 1 || fetches != 1 {
		t.Errorf("%d logins, %d calls to Barbican for one key", logins, fetches)
	}
	c.sim.Calls.Reset()
	const objects = 200
	var stored [objects][]byte
	for i := range stored {
		stored[i] = write(t, first, i)
		if !bytes.Contains(stored[i], []byte("barbican:v1:"+secret+":1")) {
			t.Fatal("the key id is not stored with the object")
		}
	}
	for range 5 { // five more API servers with empty caches
		s := ready(t, c.apiserver(t))
		for i := range stored {
			read(t, s, i, stored[i], false)
		}
		write(t, s, 0)
	}
	if calls := c.sim.Calls.All(); len(calls) != 0 {
		t.Errorf("%d calls to OpenStack once warm: %v", len(calls), calls[0])
	}
	// etcd's path is authenticated, too: an object can't be moved.
	if _, _, err := first.Read(t.Context(), place(1), stored[0]); err == nil {
		t.Error("an object was read at another's place")
	}
}

func TestKMSRestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	secret := c.key(t)
	stop := c.plugin(t, "c", writer(secret))
	server := ready(t, c.apiserver(t))
	stored := write(t, server, 1)
	stop()
	c.plugin(t, "c", writer(secret))
	read(t, ready(t, c.apiserver(t)), 1, stored, false)
	// The old API server finds the new socket in the old place.
	client := c.raw(t)
	if _, err := client.Status(t.Context(), &kmsapi.StatusRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Error(err)
	}
	read(t, ready(t, server), 1, stored, false)
}

// TestKMSReplaced starts a plugin over one that still runs, as an update does: the socket is never gone.
func TestKMSReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	secret := c.key(t)
	stop := c.plugin(t, "c", writer(secret))
	server := ready(t, c.apiserver(t))
	stored := write(t, server, 1)
	c.plugin(t, "c", writer(secret))
	stop()
	if _, err := os.Stat(strings.TrimPrefix(c.endpoint, "unix://")); err != nil {
		t.Error(err)
	}
	read(t, ready(t, c.apiserver(t)), 1, stored, false)
	ready(t, server)
}

// TestKMSRestartInOutage restarts the plugin while Keystone and Barbican close every connection, or take every call and never answer.
func TestKMSRestartInOutage(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]openstacksim.Fault{"dropped": {Drop: true}, "never answered": {Delay: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			restartInOutage(t, fault)
		})
	}
}

func restartInOutage(t *testing.T, fault openstacksim.Fault) {
	t.Helper()
	c := newCluster(t)
	secret := c.key(t)
	stop := c.plugin(t, "c", writer(secret))
	stored := write(t, ready(t, c.apiserver(t)), 1)
	stop()

	end := c.sim.Faults.Add(fault) // Keystone and Barbican
	c.plugin(t, "c", writer(secret))
	client := c.raw(t)
	calls := map[string]func() error{
		"Status": func() error { _, err := client.Status(t.Context(), &kmsapi.StatusRequest{}); return err },
		"Encrypt": func() error {
			_, err := client.Encrypt(t.Context(), &kmsapi.EncryptRequest{Plaintext: make([]byte, 32)})
			return err
		},
		"Decrypt": func() error {
			_, err := client.Decrypt(t.Context(), &kmsapi.DecryptRequest{KeyId: "barbican:v1:" + secret + ":1", Ciphertext: make([]byte, 94)})
			return err
		},
	}
	if err := calls["Status"](); status.Code(err) != codes.Unavailable { // it connects
		t.Fatal(err)
	}
	for name, call := range calls {
		quickly(t, 30, func() {
			if err := call(); status.Code(err) != codes.Unavailable {
				t.Errorf("%s in the outage: %v", name, err)
			}
		})
	}
	server := c.apiserverNow(t)
	if err := server.Healthy(); err == nil {
		t.Error("the API server takes a plugin without a key for healthy")
	}
	if _, _, err := server.Read(t.Context(), place(1), stored); err == nil {
		t.Error("an object was read without a key")
	}

	end()
	back := time.Now()
	for calls["Status"]() != nil {
		if time.Since(back) > 5*time.Second {
			t.Fatal(calls["Status"]())
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(back)
	t.Logf("served %v after the return of the cloud", took)
	if took > 2*time.Second {
		t.Errorf("served only %v after the return of the cloud", took)
	}
	read(t, ready(t, server), 1, stored, false)
}

func TestKMSOutage(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	secret := c.key(t)
	c.plugin(t, "c", writer(secret))
	before := ready(t, c.apiserver(t))
	stored := write(t, before, 1)
	c.sim.Calls.Reset()
	defer c.sim.Faults.Add(openstacksim.Fault{Drop: true})() // Keystone and Barbican, until the end
	after := ready(t, c.apiserver(t))
	for i := range 100 {
		read(t, after, 1, stored, false)
		read(t, before, i+2, write(t, after, i+2), false)
	}
	if err := errors.Join(before.Healthy(), after.Healthy()); err != nil {
		t.Error(err)
	}
	if n := c.sim.Calls.Count(); n != 0 {
		t.Errorf("%d calls to OpenStack", n)
	}
}

// TestKMSBarbicanFails starts the plugin on a Barbican that fails in each way: a defined answer at once, no exit, no wrong key, and
// service when it has ended.
func TestKMSBarbicanFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault openstacksim.Fault
		code  codes.Code
	}{
		"slow":           {openstacksim.Fault{Delay: 20 * time.Second}, codes.Unavailable}, // longer than the calls below take on any machine
		"401":            {openstacksim.Fault{Status: http.StatusUnauthorized}, codes.Unavailable},
		"403":            {openstacksim.Fault{Status: http.StatusForbidden, Body: `{"code":403,"title":"Forbidden","description":"no"}`}, codes.Unavailable},
		"404":            {openstacksim.Fault{Status: http.StatusNotFound, Body: `{"code":404,"title":"Not Found","description":"Secret not found."}`}, codes.Unavailable},
		"429":            {openstacksim.Fault{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "1"}}, codes.Unavailable},
		"500":            {openstacksim.Fault{Status: http.StatusInternalServerError}, codes.Unavailable},
		"dropped":        {openstacksim.Fault{Drop: true}, codes.Unavailable},
		"dropped after":  {openstacksim.Fault{DropAfter: true}, codes.Unavailable},
		"31 bytes":       {openstacksim.Fault{Status: http.StatusOK, Body: strings.Repeat("k", 31)}, codes.FailedPrecondition},
		"33 bytes":       {openstacksim.Fault{Status: http.StatusOK, Body: strings.Repeat("k", 33)}, codes.FailedPrecondition},
		"a proxy's page": {openstacksim.Fault{Status: http.StatusOK}, codes.FailedPrecondition},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			secret := c.key(t)
			tc.fault.Service, tc.fault.Path = openstacksim.ServiceBarbican, "/payload$"
			end := c.sim.Faults.Add(tc.fault)
			c.plugin(t, "c", writer(secret))
			client := c.raw(t)
			var err error
			if _, err = client.Status(t.Context(), &kmsapi.StatusRequest{}); err == nil {
				t.Fatal("a key is there")
			}
			quickly(t, 30, func() {
				if _, err = client.Status(t.Context(), &kmsapi.StatusRequest{}); err == nil {
					t.Fatal("a key is there")
				}
			})
			if status.Code(err) != tc.code || !strings.Contains(err.Error(), secret) {
				t.Errorf("at last: %v, want %v", err, tc.code)
			}
			t.Logf("said: %v", err)
			end()
			target.Eventually(t, "the plugin serves", func() bool {
				_, err = client.Status(t.Context(), &kmsapi.StatusRequest{})
				return err == nil
			})
			server := ready(t, c.apiserver(t))
			read(t, server, 1, write(t, server, 1), false)
		})
	}
}

func TestKMSForeignData(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	right, wrong := c.key(t), c.key(t)
	stop := c.plugin(t, "c", writer(right))
	stored := write(t, ready(t, c.apiserver(t)), 1)
	stop()
	for name, tc := range map[string]struct {
		clusterID string
		entry     barbican.Entry
		words     string
	}{
		"another key":        {"c", writer(wrong), "not in the keyring"},
		"another generation": {"c", barbican.Entry{Ref: barbican.KeyRef{Secret: right, Generation: 2}}, "not in the keyring"},
		"another cluster":    {"d", writer(right), "can't be opened"},
	} {
		stop := c.plugin(t, tc.clusterID, tc.entry)
		server := ready(t, c.apiserver(t))
		if got, _, err := server.Read(t.Context(), place(1), stored); err == nil || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: read %q, %v", name, got, err)
		}
		stop()
	}
	// With the right one again, nothing was harmed.
	c.plugin(t, "c", writer(right))
	read(t, ready(t, c.apiserver(t)), 1, stored, false)
}

// TestKMSNextKey brings in a new key: what the old one wrote is read, is stale, and is written anew with the new one.
func TestKMSNextKey(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	older, newer := c.key(t), c.key(t)
	stop := c.plugin(t, "c", writer(older))
	stored := write(t, ready(t, c.apiserver(t)), 1)
	stop()
	c.plugin(t, "c", barbican.Entry{Ref: barbican.KeyRef{Secret: newer, Generation: 2}}, barbican.Entry{Ref: barbican.KeyRef{Secret: older, Generation: 1}, ReadOnly: true})
	server := ready(t, c.apiserver(t))
	read(t, server, 1, stored, true)
	again := write(t, server, 1)
	if !bytes.Contains(again, []byte("barbican:v1:"+newer+":2")) {
		t.Error("it was not written with the new key")
	}
	read(t, server, 1, again, false)
}

func TestKMSGarbageInEtcd(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.plugin(t, "c", writer(c.key(t)))
	server := ready(t, c.apiserver(t))
	stored := write(t, server, 1)
	prefix := len(apiserver.Prefix + "mooring:")
	for i := prefix; i < len(stored); i++ {
		for _, bad := range [][]byte{append(bytes.Clone(stored[:i]), append([]byte{stored[i] ^ 0x10}, stored[i+1:]...)...), stored[:i]} {
			if got, _, err := server.Read(t.Context(), place(1), bad); err == nil && string(got) != object {
				t.Fatalf("byte %d: read %q", i, got)
			}
		}
	}
	read(t, server, 1, stored, false)
	if err := server.Healthy(); err != nil {
		t.Error(err)
	}
}
