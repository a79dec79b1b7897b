package etcd_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mooring/pkg/etcd"
	"mooring/pkg/etcd/etcdtest"
)

// TestSnapshotWhoseTreeIsNone: a hash is no signature. bbolt goes round in a circle until its stack, or the memory, is full.
func TestSnapshotWhoseTreeIsNone(t *testing.T) {
	t.Parallel()
	pageSize := os.Getpagesize()
	type page struct {
		number, flags, count int
		data                 []byte // from its header on
	}
	// pages of the file that have the wanted flags; the two meta pages are not among them
	find := func(data []byte, flags int) (out []page) {
		for i := 2; (i+1)*pageSize <= len(data); i++ {
			p := data[i*pageSize:]
			if int(binary.NativeEndian.Uint64(p)) == i && int(binary.NativeEndian.Uint16(p[8:])) == flags {
				out = append(out, page{i, flags, int(binary.NativeEndian.Uint16(p[10:])), p})
			}
		}
		return out
	}
	child := func(p page, i int) []byte { return p.data[16+16*i+8:] }
	for name, c := range map[string]struct {
		objects int
		harm    func(data []byte)
		text    string
	}{
		"a branch that is its own last child": {2000, func(data []byte) {
			b := find(data, 1)[0]
			binary.NativeEndian.PutUint64(child(b, b.count-1), uint64(b.number))
		}, "twice"},
		"a branch that is its own first child": {2000, func(data []byte) {
			b := find(data, 1)[0]
			binary.NativeEndian.PutUint64(child(b, 0), uint64(b.number))
		}, "twice"},
		"two children that are one": {2000, func(data []byte) {
			b := find(data, 1)[0]
			copy(child(b, 0)[:8], child(b, 1))
		}, "twice"},
		"a child outside of the file": {2000, func(data []byte) {
			binary.NativeEndian.PutUint64(child(find(data, 1)[0], 0), 1<<60)
		}, "outside"},
		"more elements than a page has": {2000, func(data []byte) {
			binary.NativeEndian.PutUint16(find(data, 1)[0].data[10:], 0xffff)
		}, "longer"},
		"a chain of branches": {20_000, func(data []byte) {
			root := find(data, 1)[0]
			pages := append([]page{root}, find(data, 2)...)
			for i, p := range pages[:40] { // leaves become branches of one child each
				binary.NativeEndian.PutUint16(p.data[8:], 1)
				binary.NativeEndian.PutUint16(p.data[10:], 1)
				binary.NativeEndian.PutUint32(p.data[12:], 0)
				binary.NativeEndian.PutUint64(child(p, 0), uint64(pages[i+1].number))
			}
		}, "more than 32 levels"},
		"a bucket in its element that is a branch": {1, func(data []byte) {
			for _, p := range find(data, 2) {
				for i := range p.count {
					element := p.data[16+16*i:]
					if binary.NativeEndian.Uint32(element) == 1 {
						value := element[binary.NativeEndian.Uint32(element[4:])+binary.NativeEndian.Uint32(element[8:]):]
						binary.NativeEndian.PutUint16(value[16+8:], 1)
					}
				}
			}
		}, "no leaf"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all []etcdtest.Revision
			for i := range int64(c.objects) {
				all = append(all, rev(i+1, 0, fmt.Sprint("/registry/", i), "value"))
			}
			path := etcdtest.Snapshot(t, all...)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data = data[:len(data)-32]
			c.harm(data)
			path = filepath.Join(t.TempDir(), "harmed.db")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			etcdtest.Seal(t, path)
			if got, _, err := readSnapshot(t.Context(), path); !errors.Is(err, etcd.ErrSnapshot) || !strings.Contains(err.Error(), c.text) || len(got) > 0 {
				t.Errorf("%d objects, %v", len(got), err)
			}
		})
	}
}
