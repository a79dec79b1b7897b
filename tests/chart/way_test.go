package chart_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// plainEnv are the variables of a container whose values are in its description.
func plainEnv(c *corev1.Container) map[string]string {
	out := map[string]string{}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			out[e.Name] = e.Value
		}
	}
	return out
}

// All that talk to OpenStack go through the proxy, and trust the cloud's CA: the "helm test" of the driver, too. The sidecars, which talk to
// Kubernetes, do neither, and the KMS plugin needs nothing that kube-apiserver would have to give out.
func TestTheWayToTheCloud(t *testing.T) {
	t.Parallel()
	text := everything(t, "--set", "cloud.httpProxy=http://plain.example.com:3128")
	all := pods(t, text)
	for name, p := range hooks(t, text) {
		all = append(all, pod{name, &p.Spec})
	}
	asking := 0
	for _, p := range all {
		for i := range p.spec.Containers {
			c := &p.spec.Containers[i]
			want := map[string]string{}
			if p.name == "mooring-kms" || strings.HasPrefix(c.Name, "manila-") || c.Name == "dns" || p.name == "mooring-test-manila" {
				asking++
				want = map[string]string{
					"HTTPS_PROXY": "http://proxy.example.com:3128", "HTTP_PROXY": "http://plain.example.com:3128",
					"NO_PROXY": "10.0.0.0/8,.example.org,$(KUBERNETES_SERVICE_HOST)", "SSL_CERT_DIR": "/etc/openstack-ca",
				}
			}
			if p.name == "mooring-kms" {
				delete(want, "SSL_CERT_DIR")
			}
			if diff := cmp.Diff(want, plainEnv(c)); diff != "" {
				t.Errorf("%s of %s: wanted (-) and rendered (+):\n%s", c.Name, p.name, diff)
			}
			if mounted := configMapAt(p, c, "/etc/openstack-ca"); want["SSL_CERT_DIR"] != "" != (mounted == "cloud-ca") {
				t.Errorf("%s of %s has the CA of the ConfigMap %q", c.Name, p.name, mounted)
			}
		}
	}
	if asking != 6 {
		t.Errorf("%d containers talk to OpenStack", asking)
	}
}

// configMapAt is the ConfigMap that a container has at a path, to read.
func configMapAt(p pod, c *corev1.Container, path string) string {
	for _, m := range c.VolumeMounts {
		for _, v := range p.spec.Volumes {
			if v.Name == m.Name && v.ConfigMap != nil && m.MountPath == path && m.ReadOnly {
				return v.ConfigMap.Name
			}
		}
	}
	return ""
}

// Without a proxy there is no list of what goes past it, and without a ConfigMap no directory for it.
func TestTheStraightWayToTheCloud(t *testing.T) {
	t.Parallel()
	for _, p := range pods(t, everything(t, "--set", "cloud.httpsProxy=,cloud.caConfigMap=")) {
		for i := range p.spec.Containers {
			if env := plainEnv(&p.spec.Containers[i]); len(env) != 0 {
				t.Errorf("%s: %v", p.name, env)
			}
		}
	}
}

// Kubernetes replaces $(NAME) in a variable's value, and $$ by $: a password arrives as the values have it.
func TestDollarsOnTheWay(t *testing.T) {
	t.Parallel()
	const set = `cloud.httpsProxy="http://user:pa$$word$(HOME)@proxy.example.com:3128",cloud.httpProxy="http://user:$@plain.example.com:3128"`
	want := map[string]string{
		"HTTPS_PROXY": "http://user:pa$$$$word$$(HOME)@proxy.example.com:3128", "HTTP_PROXY": "http://user:$$@plain.example.com:3128",
		"NO_PROXY": "10.0.0.0/8,.example.org,$(KUBERNETES_SERVICE_HOST)",
	}
	asking := 0
	for _, p := range pods(t, everything(t, "--set-json", set)) {
		for i := range p.spec.Containers {
			env := plainEnv(&p.spec.Containers[i])
			if delete(env, "SSL_CERT_DIR"); len(env) == 0 {
				continue // it asks no cloud
			}
			asking++
			if diff := cmp.Diff(want, env); diff != "" {
				t.Errorf("%s: wanted (-) and rendered (+):\n%s", p.name, diff)
			}
		}
	}
	if asking != 5 {
		t.Errorf("%d containers talk to OpenStack", asking)
	}
}

// A registry that asks who comes is asked by every pod, those of "helm test" too.
func TestAllPodsHaveTheRegistrysSecrets(t *testing.T) {
	t.Parallel()
	text := everything(t)
	all := pods(t, text)
	for name, p := range hooks(t, text) {
		all = append(all, pod{name, &p.Spec})
	}
	for _, p := range all {
		if !slices.Equal(p.spec.ImagePullSecrets, []corev1.LocalObjectReference{{Name: "registry"}}) {
			t.Errorf("%s has %v", p.name, p.spec.ImagePullSecrets)
		}
	}
}

// The real program, with the variables that the chart renders, gets to a Keystone that only a proxy reaches and whose certificate only the
// ConfigMap's authority vouches for.
func TestTheProgramGoesThatWay(t *testing.T) {
	t.Parallel()
	ctx, found := context.WithTimeout(t.Context(), 30*time.Second)
	defer found()
	var asked string
	keystone := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Host
		found()
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer keystone.Close()
	const host = "example.com:443" // which the certificate is for
	proxy := httptest.NewServer(tunnel(t, host, keystone.Listener.Addr().String()))
	defer proxy.Close()

	authorities := configMapVolume(t, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: keystone.Certificate().Raw}))
	var c *corev1.Container
	for _, p := range pods(t, everything(t, "--set", "cloud.httpsProxy="+proxy.URL)) {
		if p.name == "mooring-dns" {
			c = &p.spec.Containers[0]
		}
	}
	args := append(withClouds(t, c.Args), "--listen=127.0.0.1:0", "--admin-listen=")
	cmd := exec.CommandContext(ctx, filepath.Join(setting(t, "MOORING_BIN"), "mooring"), args...)
	clouds := value(args, "clouds-file")
	if err := os.WriteFile(clouds, []byte(strings.ReplaceAll(file(clouds)(t), "keystone.invalid", "example.com")), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range plainEnv(c) {
		cmd.Env = append(cmd.Env, name+"="+strings.ReplaceAll(value, "/etc/openstack-ca", authorities))
	}
	out, err := cmd.CombinedOutput() // it is ended when Keystone is asked
	if ctx.Err() == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	keystone.Close() // waits for what it answers
	if asked != "example.com" {
		t.Errorf("%q was asked\n%s", asked, out)
	}
}

// configMapVolume is a ConfigMap's key as kubelet mounts it: a link to a file behind a link to a directory, which kubelet exchanges as one. Of
// links Go reads in such a place only those that lead elsewhere.
func configMapVolume(t *testing.T, key string, data []byte) string {
	t.Helper()
	volume := t.TempDir()
	const version, current = "..2026_01_31_12_00_00.1234567890", "..data"
	err := errors.Join(
		os.Mkdir(filepath.Join(volume, version), 0o700),
		os.WriteFile(filepath.Join(volume, version, key), data, 0o600),
		os.Symlink(version, filepath.Join(volume, current)),
		os.Symlink(filepath.Join(current, key), filepath.Join(volume, key)),
	)
	if err != nil {
		t.Fatal(err)
	}
	return volume
}

// tunnel is a proxy that has one way only: a CONNECT to host leads to address.
func tunnel(t *testing.T, host, address string) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != host {
			t.Errorf("the proxy was asked for %s %s", r.Method, r.Host)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		behind, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = fmt.Fprint(client, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			_, _ = io.Copy(behind, client)
			_ = behind.Close()
		}()
		_, _ = io.Copy(client, behind)
		_ = client.Close()
	})
}
