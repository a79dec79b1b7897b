package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"mooring/pkg/etcd"
	"mooring/pkg/etcd/etcdtest"
)

func rev(main, sub int64, key, value string) etcdtest.Revision {
	return etcdtest.Revision{Main: main, Sub: sub, Key: key, Value: value}
}

func readSnapshot(ctx context.Context, path string) (got []etcdtest.Revision, newest int64, err error) {
	newest, err = etcd.NewSnapshot(path).Objects(ctx, "/registry/", func(o etcd.Object) error {
		got = append(got, etcdtest.Revision{Main: o.ModRevision, Key: string(o.Key), Value: string(o.Value)})
		return nil
	})
	return got, newest, err
}

func TestSnapshotHasTheNewestOfEachKey(t *testing.T) {
	t.Parallel()
	path := etcdtest.Snapshot(t,
		rev(2, 0, "/registry/a", "a1"), rev(3, 0, "/registry/b", "b1"), rev(4, 0, "/registry/a", "a2"),
		rev(5, 0, "/registry/c", "c1"), rev(6, 0, "/registry/c", ""), // deleted
		rev(7, 0, "/registry/d", "d1"), rev(8, 0, "/registry/d", ""), rev(9, 0, "/registry/d", "d2"), // and there again
		rev(10, 0, "/registry/e", "e1"), rev(10, 1, "/registry/f", "f1"), rev(11, 0, "/registry/f", ""), rev(11, 1, "/registry/f2", "x"),
		rev(300, 0, "/other/a", "x"), rev(301, 0, "/registry", "x"), rev(70_000, 0, "/registry/b", "b2"),
	)
	got, newest, err := readSnapshot(t.Context(), path)
	want := []etcdtest.Revision{
		rev(70_000, 0, "/registry/b", "b2"), rev(11, 0, "/registry/f2", "x"), rev(10, 0, "/registry/e", "e1"), rev(9, 0, "/registry/d", "d2"), rev(4, 0, "/registry/a", "a2"),
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || newest != 70_000 {
		t.Errorf("%v, revision %d\n%s", err, newest, diff)
	}
}

func TestSnapshotThatIsNone(t *testing.T) {
	t.Parallel()
	good := etcdtest.Snapshot(t, rev(2, 0, "/registry/a", "a1"))
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte{}, data...)
	damaged[len(damaged)/2] ^= 1
	write := func(content []byte) string {
		path := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sealed := func(content []byte) string {
		path := write(content)
		etcdtest.Seal(t, path)
		return path
	}
	other := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(other, 0o600, nil)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	etcdtest.Seal(t, other)
	wild := append([]byte{}, data[:len(data)-32]...)
	for i := 2 * os.Getpagesize(); i < len(wild); i++ { // pages that point everywhere; the two meta pages are right
		wild[i] = 0xfe
	}
	for name, c := range map[string]struct{ path, text string }{
		"damaged":           {write(damaged), "SHA-256"},
		"half of it":        {write(data[:len(data)/2]), ""},
		"without its hash":  {write(data[:len(data)-32]), "etcdctl snapshot save"},
		"empty":             {write(nil), "no hash"},
		"no database":       {sealed(make([]byte, 64<<10)), ""},
		"another database":  {other, `no bucket "key"`},
		"wild, with a hash": {sealed(wild), "of its tree is neither"},
	} {
		if got, _, err := readSnapshot(t.Context(), c.path); !errors.Is(err, etcd.ErrSnapshot) || !strings.Contains(err.Error(), c.text) || len(got) > 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, _, err := readSnapshot(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := readSnapshot(ctx, good); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestSnapshotLargerThanWhatIsKept: the pages that were given back come again.
func TestSnapshotLargerThanWhatIsKept(t *testing.T) {
	t.Parallel()
	const n = 400
	var all []etcdtest.Revision
	for i := range int64(n) {
		all = append(all, rev(i+1, 0, fmt.Sprint("/registry/", i), strings.Repeat(strconv.FormatInt(i%10, 10), 64<<10)))
	}
	got, _, err := readSnapshot(t.Context(), etcdtest.Snapshot(t, all...))
	if err != nil || len(got) != n {
		t.Fatalf("%d objects, %v", len(got), err)
	}
	for i, r := range got {
		if want := all[n-1-i]; r.Key != want.Key || r.Value != want.Value {
			t.Fatalf("object %d is %s", i, r.Key)
		}
	}
}
