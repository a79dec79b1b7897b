package etcd_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mooring/pkg/etcd"
	"mooring/pkg/etcd/etcdtest"
)

// FuzzSnapshot alters bytes of a database and puts the right hash after it: whatever is in the file, it is read to its end or refused,
// soon, and nothing is told that does not begin with the prefix. Each five bytes of changes are a page, a place in it and a value.
func FuzzSnapshot(f *testing.F) {
	var bases [][]byte
	for _, objects := range []int64{1, 300} { // a bucket within its element, and one with branches
		var all []etcdtest.Revision
		for i := range objects {
			all = append(all, rev(i+1, 0, fmt.Sprint("/registry/", i), "value"))
		}
		data, err := os.ReadFile(etcdtest.Snapshot(f, all...))
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, data[:len(data)-32])
	}
	pageSize := os.Getpagesize()
	change := func(page, place uint16, value byte) []byte {
		return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, page), place), value)
	}
	f.Add(uint8(0), []byte{})
	for page := range uint16(len(bases[1]) / pageSize) {
		for _, place := range []uint16{0, 8, 10, 12, 16, 20, 24, 28, 31, 40} {
			f.Add(uint8(1), change(page, place, 0xff))
			f.Add(uint8(0), change(page, place, 0x01))
		}
	}
	f.Fuzz(func(t *testing.T, base uint8, changes []byte) {
		data := append([]byte(nil), bases[int(base)%len(bases)]...)
		for ; len(changes) >= 5; changes = changes[5:] {
			page, place := int(binary.BigEndian.Uint16(changes)), int(binary.BigEndian.Uint16(changes[2:]))
			data[(page*pageSize+place%pageSize)%len(data)] = changes[4]
		}
		path := filepath.Join(t.TempDir(), "snapshot.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		etcdtest.Seal(t, path)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		got, _, err := readSnapshot(ctx, path)
		if err != nil && !errors.Is(err, etcd.ErrSnapshot) {
			t.Error(err)
		}
		for _, o := range got {
			if !strings.HasPrefix(o.Key, "/registry/") {
				t.Errorf("%q", o.Key)
			}
		}
	})
}

// FuzzParseEndpoint: what is taken is a host and a port, and is taken again.
func FuzzParseEndpoint(f *testing.F) {
	for _, seed := range []string{"https://10.0.0.1:2379", "http://[::1]:2379/", "etcd:2379", "unix:///x", "https://u:p@h:1", "https://h:1/x", "h:99999", ":1", "", "https://h:1?x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		target, _, err := etcd.ParseEndpoint(endpoint)
		if err != nil {
			return
		}
		host, port, err := net.SplitHostPort(target)
		if err != nil || host == "" || port == "" || strings.ContainsAny(target, "/@?#") {
			t.Errorf("%q: %q, %v", endpoint, target, err)
		}
		if again, _, err := etcd.ParseEndpoint(target); err != nil || again != target {
			t.Errorf("%q: %q, then %q, %v", endpoint, target, again, err)
		}
	})
}
