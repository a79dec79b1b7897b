package kms_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kmsapi "k8s.io/kms/apis/v2"

	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/contract/target"
	"mooring/tests/peer/kmsplugin"
)

// TestNothingSecretIsTold goes through a life at debug level (a rotation, each kind of error, an outage, a restart in it) and looks
// for keys, tokens and passwords in all that was logged, measured or answered.
func TestNothingSecretIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var told strings.Builder
	first := r.key(t, 1)
	p := r.plugin(t, "--log-level=debug")
	active(t, p, first)
	wrapped := wrap(t, p)
	hear(t, &told, p, wrapped)
	second := r.key(t, 2)
	active(t, p, second)

	for _, fault := range []openstacksim.Fault{
		{Status: http.StatusForbidden},
		{Status: http.StatusInternalServerError},
		{Delay: 200 * time.Millisecond},
		{DropAfter: true},
		{Service: openstacksim.ServiceBarbican, Status: http.StatusOK, Body: strings.Repeat("k", 31)},
	} {
		end := r.Faults.Add(fault)
		time.Sleep(3 * poll / 2) // a poll, and what comes of it
		hear(t, &told, p, wrapped)
		end()
	}
	r.Keystone.RevokeTokens()
	end := r.Faults.Add(openstacksim.Fault{Drop: true})
	stop(t, p)
	again := r.plugin(t, "--log-level=debug")
	hear(t, &told, again, wrapped)
	end()
	active(t, again, second)
	hear(t, &told, again, wrapped)
	stop(t, again)
	told.WriteString(p.Output() + again.Output())

	secrets := append(r.Secrets(), "[0 0 0 0 0 0", strings.Repeat("\x00", 32))
	if len(secrets) < 10 || !strings.Contains(told.String(), "level=DEBUG") || !strings.Contains(told.String(), "mooring_barbican_keys") {
		t.Fatal("there is nothing to look for, or in")
	}
	for _, secret := range secrets {
		if strings.Contains(told.String(), secret) {
			t.Errorf("%q was told", secret)
		}
	}
}

// hear notes the plugin's metrics, and the errors of good and bad calls.
func hear(t *testing.T, told *strings.Builder, p *kmsplugin.Plugin, wrapped *kmsapi.EncryptResponse) {
	t.Helper()
	for _, bad := range []byte{0, 1} {
		ciphertext := append([]byte{}, wrapped.GetCiphertext()...)
		ciphertext[60] ^= bad
		_, s := p.Status(t.Context(), &kmsapi.StatusRequest{})
		_, e := p.Encrypt(t.Context(), &kmsapi.EncryptRequest{Plaintext: make([]byte, 32-int(bad))})
		_, d := p.Decrypt(t.Context(), &kmsapi.DecryptRequest{Ciphertext: ciphertext, KeyId: wrapped.GetKeyId()})
		fmt.Fprintln(told, s, e, d)
	}
	_, metrics := admin(t, p, "/metrics")
	_, ready := admin(t, p, "/readyz")
	told.WriteString(metrics + ready)
}

// TestMemory looks at the process as the kernel does: keys are in locked memory, there will be no core, and its files in /proc are
// root's, not its user's (proc_pid(5): what follows from not being dumpable).
func TestMemory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.key(t, 1)
	second := r.key(t, 2)
	p := r.plugin(t)
	active(t, p, second)
	proc := func(file string) string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID(), file))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	field := func(text, name string) string {
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, name); ok {
				return strings.Join(strings.Fields(rest), " ")
			}
		}
		t.Fatalf("no %s in %s", name, text)
		return ""
	}
	target.Eventually(t, "both keys are held", func() bool { return metric(t, p, "mooring_barbican_keys", `state="held"`) == 2 })
	var locked int
	if _, err := fmt.Sscan(field(proc("status"), "VmLck:"), &locked); err != nil {
		t.Fatal(err)
	}
	if pages := 2 * os.Getpagesize() >> 10; locked < pages || metric(t, p, "mooring_barbican_keys_unlocked") != 0 {
		t.Errorf("%d KiB are locked for two keys, want %d at least", locked, pages)
	}
	if limits := field(proc("limits"), "Max core file size"); !strings.HasPrefix(limits, "0 0") {
		t.Errorf("a core may have %s", limits)
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		t.Errorf("its memory is user %d's to read", owner)
	}
}

// TestFIPSOnly runs the program with nothing but FIPS 140 approved cryptography.
func TestFIPSOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Environment = []string{"GODEBUG=fips140=only"}
	legacy := r.key(t, 1)
	second := r.key(t, 2)
	p := r.plugin(t, "--legacy-key="+legacy.Secret)
	active(t, p, second)
	server := r.apiserver(t, "fips")
	read(t, server, 1, write(t, server, 1, second), false)
	// A legacy ciphertext is AES-CBC, which is approved: what is wrong with this one is its padding, and that is found.
	target.Eventually(t, "the legacy key is tried", func() bool {
		_, err := p.Decrypt(t.Context(), &kmsapi.DecryptRequest{KeyId: legacy.Secret, Ciphertext: make([]byte, 64)})
		return status.Code(err) == codes.InvalidArgument && strings.Contains(err.Error(), "authenticate")
	})
}

// TestGarbage sends what nobody wrapped over the socket, key ids of the right form among it: no success, no end, and no more calls
// to Barbican than there are polls anyway and one more for each poll's time.
func TestGarbage(t *testing.T) {
	t.Parallel()
	const requests = 3000
	r := newRig(t)
	ref := r.key(t, 1)
	p := r.plugin(t)
	active(t, p, ref)
	wrapped := wrap(t, p)
	random := rand.New(rand.NewPCG(7, 8))
	noise := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = byte(random.Uint32())
		}
		return out
	}
	r.Calls.Reset()
	begin := time.Now()
	for i := range requests {
		request := &kmsapi.DecryptRequest{KeyId: wrapped.GetKeyId(), Ciphertext: append([]byte{}, wrapped.GetCiphertext()...)}
		switch i % 4 {
		case 0:
			request.Ciphertext[random.IntN(len(request.GetCiphertext()))] ^= 1 << random.IntN(8)
		case 1:
			request.Ciphertext = noise(random.IntN(200))
		case 2:
			request.KeyId = fmt.Sprintf("barbican:v1:%x-%x-%x-%x-%x:%d", noise(4), noise(2), noise(2), noise(2), noise(6), 1+random.IntN(9))
		default:
			request.Annotations = map[string][]byte{"a.example": noise(9)}
		}
		opened, err := p.Decrypt(t.Context(), request)
		if code := status.Code(err); opened != nil || (code != codes.InvalidArgument && code != codes.NotFound) {
			t.Fatalf("%v: %v, %v", request, opened, err)
		}
	}
	spans := int(time.Since(begin) / poll)
	polls, demanded := spans+1, spans+3 // the key ids may have three lists at once, and then one in each poll's time
	if calls := r.Calls.Count(); calls > polls+demanded {
		t.Errorf("%d calls to OpenStack in the time of %d polls", calls, polls)
	}
	if got := ask(t.Context(), p, wrapped); got != served {
		t.Errorf("after it: %v", got)
	}
}
