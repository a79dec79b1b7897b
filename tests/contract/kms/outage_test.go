package kms_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/contract/target"
	"mooring/tests/peer/kmsplugin"
)

// answers are what the three calls of KMS v2 give, as codes. The ciphertext is one that the plugin, or one before it, made.
type answers struct{ status, encrypt, decrypt codes.Code }

func ask(ctx context.Context, client kmsapi.KeyManagementServiceClient, wrapped *kmsapi.EncryptResponse) answers {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // kube-apiserver's patience
	defer cancel()
	_, s := client.Status(ctx, &kmsapi.StatusRequest{})
	_, e := client.Encrypt(ctx, &kmsapi.EncryptRequest{Plaintext: make([]byte, 32)})
	_, d := client.Decrypt(ctx, &kmsapi.DecryptRequest{Ciphertext: wrapped.GetCiphertext(), KeyId: wrapped.GetKeyId()})
	return answers{status.Code(s), status.Code(e), status.Code(d)}
}

func wrap(t *testing.T, client kmsapi.KeyManagementServiceClient) *kmsapi.EncryptResponse {
	t.Helper()
	wrapped, err := client.Encrypt(t.Context(), &kmsapi.EncryptRequest{Plaintext: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	return wrapped
}

var (
	served = answers{codes.OK, codes.OK, codes.OK}
	away   = answers{codes.Unavailable, codes.Unavailable, codes.Unavailable}
)

// TestOutage takes Keystone and Barbican away for good: held keys serve, the health stays, and the metrics tell.
func TestOutage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.key(t, 1)
	second := r.key(t, 2)
	p := r.plugin(t)
	active(t, p, second)
	old := r.apiserver(t, "outage")
	stored := write(t, old, 1, second)
	wrapped := wrap(t, p)
	if got := metric(t, p, "mooring_barbican_keys", `state="held"`); got != 2 {
		t.Errorf("%v keys are held, want 2", got)
	}

	r.Close()
	gone := time.Now()
	for time.Since(gone) < 5*poll {
		if got := ask(t.Context(), p, wrapped); got != served {
			t.Fatalf("in the outage: %v", got)
		}
		time.Sleep(20 * time.Millisecond)
	}
	server := r.apiserver(t, "outage")
	read(t, server, 1, stored, false)
	read(t, old, 2, write(t, server, 2, second), false)
	if code, _ := admin(t, p, "/readyz"); code != http.StatusOK {
		t.Errorf("readyz: %d", code)
	}
	for name, want := range map[string]func(v float64) bool{
		`mooring_barbican_last_good_poll_age_seconds`:       func(v float64) bool { return v > 3*poll.Seconds() },
		`mooring_barbican_active_generation`:                func(v float64) bool { return v == 2 },
		`mooring_barbican_revoked`:                          func(v float64) bool { return v == 0 },
		`mooring_barbican_stale`:                            func(v float64) bool { return v == 0 },
		`mooring_barbican_errors_total class="unavailable"`: func(v float64) bool { return v >= 1 }, // a poll tries several times
		`mooring_barbican_polls_total result="transient"`:   func(v float64) bool { return v >= 1 },
	} {
		name, labels, _ := strings.Cut(name, " ")
		if v := metric(t, p, name, labels); !want(v) {
			t.Errorf("%s%s is %v", name, labels, v)
		}
	}
}

// TestRestartInOutage starts the plugin while Keystone and Barbican are away. How fast it answers then, and serves later, is a
// figure of the benchmark.
func TestRestartInOutage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ref := r.key(t, 1)
	p := r.plugin(t)
	active(t, p, ref)
	stored, wrapped := write(t, r.apiserver(t, "restart"), 1, ref), wrap(t, p)
	stop(t, p)
	back := r.Faults.Add(openstacksim.Fault{Drop: true})
	p = r.plugin(t)
	for range 50 {
		if got := ask(t.Context(), p, wrapped); got != away {
			t.Fatalf("in the outage: %v", got)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if code, _ := admin(t, p, "/readyz"); code == http.StatusOK {
		t.Error("it is ready without a key")
	}
	back()
	active(t, p, ref)
	read(t, r.apiserver(t, "restart"), 1, stored, false)
}

// failure is a way in which Barbican can fail, and what is said meanwhile when there is no key yet: by a plugin that lists the
// keyring, and by one that fetches the key.
type failure struct {
	name        string
	fault       openstacksim.Fault
	listed, got codes.Code
}

const page = "<html><body>welcome</body></html>"

func failures() []failure {
	text := func(length string) map[string]string {
		return map[string]string{"Content-Type": "application/octet-stream", "Content-Length": length}
	}
	return []failure{
		{"slow", openstacksim.Fault{Delay: openstacksim.Held}, codes.Unavailable, codes.Unavailable},
		{"401", openstacksim.Fault{Status: http.StatusUnauthorized}, codes.Unavailable, codes.Unavailable},
		{"403", openstacksim.Fault{Status: http.StatusForbidden, Body: `{"code":403,"title":"Forbidden","description":"no"}`}, codes.Unavailable, codes.Unavailable},
		{"404", openstacksim.Fault{Status: http.StatusNotFound, Body: `{"code":404,"title":"Not Found","description":"no"}`}, codes.Unavailable, codes.Unavailable},
		{"429", openstacksim.Fault{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "1"}}, codes.Unavailable, codes.Unavailable},
		{"500", openstacksim.Fault{Status: http.StatusInternalServerError}, codes.Unavailable, codes.Unavailable},
		{"dropped", openstacksim.Fault{Drop: true}, codes.Unavailable, codes.Unavailable},
		{"dropped after", openstacksim.Fault{DropAfter: true}, codes.Unavailable, codes.Unavailable},
		{"truncated", openstacksim.Fault{Status: http.StatusOK, Header: text("32"), Body: strings.Repeat("k", 20)}, codes.Unavailable, codes.Unavailable},
		{"31 bytes", openstacksim.Fault{Status: http.StatusOK, Header: text("31"), Body: strings.Repeat("k", 31)}, codes.Unavailable, codes.FailedPrecondition},
		{"33 bytes", openstacksim.Fault{Status: http.StatusOK, Header: text("33"), Body: strings.Repeat("k", 33)}, codes.Unavailable, codes.FailedPrecondition},
		{"empty", openstacksim.Fault{Status: http.StatusOK, Header: text("0"), Body: " "}, codes.Unavailable, codes.FailedPrecondition},
		{"a proxy's page", openstacksim.Fault{Status: http.StatusOK, Body: page, Header: map[string]string{"Content-Type": "text/html"}}, codes.Unavailable, codes.FailedPrecondition},
	}
}

// TestBarbicanFails has Barbican fail in each way, first when the plugin starts and then when it serves: a defined answer, no
// exit, no wrong key, and service, or the new key, when it has ended. They wait more than they work, so all run at once.
func TestBarbicanFails(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for _, f := range failures() { //nolint:paralleltest // they run beside each other: goroutines start them
		for stage, path := range map[string]string{"list": "^/v1/containers/", "fetch": "/payload$"} {
			group.Go(func() {
				t.Run(f.name+" in a "+stage, func(t *testing.T) {
					fault, want := f.fault, f.listed
					fault.Service, fault.Method, fault.Path = openstacksim.ServiceBarbican, http.MethodGet, path
					if stage == "fetch" {
						want = f.got
					}
					fails(t, fault, want)
				})
			})
		}
	}
	group.Wait()
}

func fails(t *testing.T, fault openstacksim.Fault, want codes.Code) {
	t.Helper()
	r := newRig(t)
	first := r.key(t, 1)
	end := r.Faults.Add(fault)
	p := r.plugin(t)
	// What Decrypt is asked for has the right form and this key's id.
	wrapped := &kmsapi.EncryptResponse{KeyId: first.KeyID(), Ciphertext: append([]byte{1, 1}, make([]byte, 92)...)}
	meanwhile(t, p, wrapped, answers{want, want, want}, fault.Delay > 0)
	end()
	active(t, p, first)
	wrapped = wrap(t, p)

	// It serves. Now the same again, and a new key comes meanwhile.
	end = r.Faults.Add(fault)
	second := r.key(t, 2)
	for range 30 {
		if got := ask(t.Context(), p, wrapped); got != served {
			t.Fatalf("while it serves: %v; it said %s", got, p.Output())
		}
		if s, err := p.Status(t.Context(), &kmsapi.StatusRequest{}); err != nil || s.GetKeyId() != first.KeyID() {
			t.Fatalf("Status: %v, %v", s, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	end()
	active(t, p, second)
	if got := ask(t.Context(), p, wrapped); got != served {
		t.Errorf("the older key: %v", got)
	}
	if strings.Contains(p.Output(), "goroutine ") {
		t.Errorf("a stack trace: %s", p.Output())
	}
}

// meanwhile wants these answers once the first call has failed.
func meanwhile(t *testing.T, p *kmsplugin.Plugin, wrapped *kmsapi.EncryptResponse, want answers, slow bool) {
	t.Helper()
	if !slow {
		target.Eventually(t, "Barbican is asked", func() bool {
			return strings.Contains(p.Output(), "can't be fetched") || strings.Contains(p.Output(), "can't be listed")
		})
	}
	for range 20 {
		if got := ask(t.Context(), p, wrapped); got != want {
			t.Fatalf("while there is no key: %v, want %v; it said %s", got, want, p.Output())
		}
		time.Sleep(20 * time.Millisecond)
	}
}
