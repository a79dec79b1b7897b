package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// tree makes a directory with one of everything that is allowed, at some time.
func tree(t *testing.T, modified time.Time) string {
	t.Helper()
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "etc", "ssl"), 0o755),
		os.WriteFile(filepath.Join(dir, "etc", "ssl", "ca.crt"), []byte("certificates"), 0o644),
		os.WriteFile(filepath.Join(dir, "mooring"), bytes.Repeat([]byte("program"), 10000), 0o755),
		os.Symlink("mooring", filepath.Join(dir, "alias")),
		os.Mkdir(filepath.Join(dir, "tmp"), 0o755),
		os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky),
		os.Chtimes(filepath.Join(dir, "mooring"), modified, modified),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func pack(t *testing.T, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "image.tar")
	if err := run(append([]string{"-out", out, "-name", "docker.io/mooring/mooring:1.2.3", "-user", "65532:65532", "-entrypoint", "/mooring"}, args...), io.Discard); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

type member struct {
	*tar.Header
	data []byte
}

func untar(t *testing.T, r io.Reader) map[string]member {
	t.Helper()
	members := map[string]member{}
	for in := tar.NewReader(r); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return members
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		members[header.Name] = member{Header: header, data: data}
	}
}

// blob gives what a descriptor describes, if it is as described.
func blob(t *testing.T, files map[string]member, d v1.Descriptor) []byte {
	t.Helper()
	data := files["blobs/sha256/"+d.Digest.Encoded()].data
	if digest.FromBytes(data) != d.Digest || int64(len(data)) != d.Size {
		t.Fatalf("a blob of %d bytes is described as %+v", len(data), d)
	}
	return data
}

func decode[T any](t *testing.T, data []byte) (value T) {
	t.Helper()
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestSameBytes(t *testing.T) {
	t.Parallel()
	if !bytes.Equal(pack(t, tree(t, time.Unix(1, 0))), pack(t, tree(t, time.Unix(1<<30, 5)))) {
		t.Error("the same files of another time give another image")
	}
}

// Whoever loads the image follows the descriptors from index.json on.
func TestLayout(t *testing.T) {
	t.Parallel()
	files := untar(t, bytes.NewReader(pack(t, tree(t, time.Now()))))
	if got := string(files["oci-layout"].data); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Error(got)
	}
	index := decode[v1.Index](t, files["index.json"].data)
	top := index.Manifests[0]
	if name := top.Annotations["io.containerd.image.name"]; len(index.Manifests) != 1 || name != "docker.io/mooring/mooring:1.2.3" || top.Annotations[v1.AnnotationRefName] != "1.2.3" {
		t.Errorf("%+v", index)
	}
	manifest := decode[v1.Manifest](t, blob(t, files, top))
	config := decode[v1.Image](t, blob(t, files, manifest.Config))
	if config.Config.User != "65532:65532" || strings.Join(config.Config.Entrypoint, " ") != "/mooring" || config.OS != "linux" || config.Created.Unix() != 0 {
		t.Errorf("%+v", config)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(blob(t, files, manifest.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	if digest.FromBytes(content) != config.RootFS.DiffIDs[0] {
		t.Error("the configuration names another layer")
	}
	checkTree(t, untar(t, bytes.NewReader(content)))
}

func checkTree(t *testing.T, layer map[string]member) {
	t.Helper()
	for name, mode := range map[string]int64{"etc/": 0o755, "etc/ssl/": 0o755, "etc/ssl/ca.crt": 0o644, "mooring": 0o755, "alias": 0o777, "tmp/": 0o1777} {
		m, ok := layer[name]
		if !ok || m.Mode != mode || m.Uid != 0 || m.Gid != 0 || m.ModTime.Unix() != 0 {
			t.Errorf("%s: %+v", name, m.Header)
		}
	}
	if len(layer) != 6 || layer["alias"].Linkname != "mooring" || len(layer["mooring"].data) != 70000 {
		t.Errorf("%d members", len(layer))
	}
}

// What can't be packed is refused, and leaves no file behind.
func TestRefused(t *testing.T) {
	t.Parallel()
	good, bad := tree(t, time.Now()), t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(bad, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no output":    {[]string{"-name", "r/n:t", good}, "-out is missing"},
		"no tag":       {[]string{"-out", "x", "-name", "localhost:5000/mooring", good}, "full reference"},
		"no directory": {[]string{"-out", "x", "-name", "r/n:t"}, "no directory"},
		"not there":    {[]string{"-out", filepath.Join(t.TempDir(), "x"), "-name", "r/n:t", "/nonexistent"}, "no such file"},
		"a pipe":       {[]string{"-out", filepath.Join(t.TempDir(), "x"), "-name", "r/n:t", bad}, "neither a file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := run(c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if len(c.args) > 2 && c.args[0] == "-out" {
				if left, _ := filepath.Glob(c.args[1] + "*"); len(left) > 0 {
					t.Errorf("%v is left", left)
				}
			}
		})
	}
}
