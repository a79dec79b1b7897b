package secmem

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const innerRun = "^TestUndumpableInner$"

const hush = "hush-hush-hush-hush-hush-hush-32"

func newBytes(t *testing.T) *Bytes {
	t.Helper()
	b, err := New([]byte(hush))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Destroy(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestUse(t *testing.T) {
	t.Parallel()
	source := []byte(hush)
	b, err := New(source)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(source, make([]byte, len(hush))) {
		t.Error("the source was not cleared")
	}
	if err := b.Use(func(s []byte) error {
		if string(s) != hush || cap(s) != len(hush) {
			t.Errorf("bytes %q, capacity %d", s, cap(s))
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	sentinel := errors.New("from f")
	if err := b.Use(func([]byte) error { return sentinel }); !errors.Is(err, sentinel) {
		t.Errorf("error %v, want f's own", err)
	}
	if !b.Equal([]byte(hush)) || b.Equal([]byte("other")) {
		t.Error("Equal is wrong")
	}
	for range 2 {
		if err := b.Destroy(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Use(func([]byte) error { return nil }); !errors.Is(err, ErrDestroyed) {
		t.Errorf("after Destroy: error %v", err)
	}
	if b.Equal([]byte(hush)) {
		t.Error("equal after Destroy")
	}
	if _, err := New(nil); err == nil {
		t.Error("New accepted no bytes")
	}
}

func TestNeverPrinted(t *testing.T) {
	t.Parallel()
	b := newBytes(t)
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).InfoContext(t.Context(), "key", "key", b, "in_struct", struct{ K *Bytes }{b})
	}
	asJSON, err := json.Marshal(map[string]any{"k": b})
	if err != nil {
		t.Fatal(err)
	}
	printed := log.String() + string(asJSON) + b.String()
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"}
	lines := make([]string, 0, len(verbs))
	for _, verb := range verbs {
		lines = append(lines, fmt.Sprintf(verb, b)+fmt.Sprintf(verb, struct{ K *Bytes }{b}))
	}
	printed += strings.Join(lines, "\n")
	printed += fmt.Errorf("wrapped %v", b).Error()
	for _, leak := range []string{hush, fmt.Sprintf("%x", hush), fmt.Sprintf("%d", []byte(hush))} {
		if strings.Contains(printed, leak) {
			t.Errorf("%q found in %s", leak, printed)
		}
	}
}

func TestConcurrentDestroy(t *testing.T) {
	t.Parallel()
	b := newBytes(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				err := b.Use(func(s []byte) error {
					if string(s) != hush {
						t.Errorf("bytes %q", s)
					}
					return nil
				})
				if errors.Is(err, ErrDestroyed) {
					return
				}
			}
		})
	}
	if err := b.Destroy(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestUndumpable runs in a process of its own, since the setting can't be taken back
// without privilege.
func TestUndumpable(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run", innerRun, "-test.v")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("dumpable 1 then 0")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestUndumpableInner(t *testing.T) {
	t.Parallel()
	if flag.Lookup("test.run").Value.String() != innerRun {
		return // only TestUndumpable runs this, in a process of its own
	}
	before, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := Undumpable(); err != nil {
		t.Fatal(err)
	}
	after, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core.Cur != 0 {
		t.Errorf("core limit %d, %v", core.Cur, err)
	}
	t.Logf("dumpable %d then %d", before, after)
}
