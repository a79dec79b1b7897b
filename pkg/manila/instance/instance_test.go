package instance_test

import (
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mooring/pkg/manila/instance"
	"mooring/pkg/poll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// found runs a Zone until it is known, or until its answer is wanted before that.
func found(t *testing.T, o instance.Options, patience time.Duration) (string, error) {
	t.Helper()
	o.Retry = poll.Backoff{First: time.Millisecond, Max: time.Millisecond, Factor: 1}
	z := instance.NewZone(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- z.Run(ctx) }()
	wait, stop := context.WithTimeout(ctx, patience)
	defer stop()
	name, err := z.Get(wait)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return name, err
}

func serve(t *testing.T, answer http.HandlerFunc) (string, *http.Client) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.URL, server.Client()
}

// TestMetadataService: the document is asked for until it comes.
func TestMetadataService(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	base, client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch n := calls.Add(1); {
		case r.URL.Path != "/openstack/latest/meta_data.json":
			t.Errorf("asked for %s", r.URL.Path)
		case n == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n == 2:
			_, _ = w.Write([]byte("<html>"))
		default:
			_, _ = w.Write([]byte(`{"uuid": "x", "availability_zone": "az-1", "meta": {"a": "b"}}`))
		}
	})
	if name, err := found(t, instance.Options{MetadataURL: base, HTTP: client}, time.Minute); err != nil || name != "az-1" {
		t.Errorf("got %q, %v", name, err)
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("%d calls", n)
	}
}

// TestConfigDrive: a mounted config drive comes before the service, which is asked when it is of no use.
func TestConfigDrive(t *testing.T) {
	t.Parallel()
	base, client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"availability_zone": "from-service"}`))
	})
	for content, want := range map[string]string{`{"availability_zone": "from-drive"}`: "from-drive", `{}`: "from-service", "": "from-service"} {
		dir := t.TempDir()
		if content != "" {
			path := filepath.Join(dir, "openstack", "latest")
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(path, "meta_data.json"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		name, err := found(t, instance.Options{ConfigDrive: dir, ReadFile: os.ReadFile, MetadataURL: base, HTTP: client}, time.Minute)
		if err != nil || name != want {
			t.Errorf("drive %q: got %q, %v, want %s", content, name, err, want)
		}
	}
}

// TestUnknown: whoever asks too early hears why, and what is not sound is not believed.
func TestUnknown(t *testing.T) {
	t.Parallel()
	base, client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/large") {
			_, _ = w.Write(bytes.Repeat([]byte(" "), 2<<20))
		}
		w.WriteHeader(http.StatusNotFound)
	})
	for _, c := range []struct {
		o    instance.Options
		want string
	}{
		{instance.Options{MetadataURL: base, HTTP: client}, "404 Not Found"},
		{instance.Options{MetadataURL: base + "/large", HTTP: client}, "more than 1048576 bytes"},
		{instance.Options{MetadataURL: base}, "127.0.0.1 is no link-local address"},
		{instance.Options{MetadataURL: base, HTTP: client, ConfigDrive: "/drive", ReadFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist }}, "is the config drive mounted there?"},
	} {
		c.o.Retry = poll.Backoff{First: time.Millisecond, Max: time.Millisecond, Factor: 1}
		z := instance.NewZone(c.o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- z.Run(ctx) }()
		ended, end := context.WithCancel(ctx)
		end()
		for { // until it was asked once
			_, err := z.Get(ended)
			if err == nil {
				t.Fatal("it is known")
			}
			if strings.Contains(err.Error(), c.want) {
				break
			}
			if !strings.Contains(err.Error(), "nobody was asked yet") {
				t.Errorf("got %v, want %s", err, c.want)
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, zone, mistake string }{
		{`{"availability_zone": "nova"}`, "nova", ""},
		{`{"availability_zone": "DC_1.rack-2"}`, "DC_1.rack-2", ""},
		{`{}`, "", "there is no availability zone"},
		{`null`, "", "there is no availability zone"},
		{`[]`, "", "no meta_data.json"},
		{``, "", "no meta_data.json"},
		{`{"availability_zone": 3}`, "", "no meta_data.json"},
		{`{"availability_zone": "zone one"}`, "", "can't be the label of a node"},
		{`{"availability_zone": "-a"}`, "", "can't be the label of a node"},
		{`{"availability_zone": "` + strings.Repeat("z", 64) + `"}`, "", "more than 63 characters"},
	} {
		zone, err := instance.Parse([]byte(c.in))
		if c.mistake == "" && (err != nil || zone != c.zone) || c.mistake != "" && (err == nil || !strings.Contains(err.Error(), c.mistake)) {
			t.Errorf("%s: got %q, %v", c.in, zone, err)
		}
	}
}

// FuzzParse: whatever stands in the document, what comes out can be a label.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"availability_zone": "nova"}`, `{"availability_zone": "a b"}`, `{}`, `[`, `{"availability_zone": "é"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		zone, err := instance.Parse(b)
		if err != nil {
			return
		}
		if len(zone) == 0 || len(zone) > 63 || strings.ContainsFunc(zone, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/:=,"\`, r) }) {
			t.Errorf("%q", zone)
		}
	})
}
