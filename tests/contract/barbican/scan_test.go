package barbican_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"mooring/pkg/barbican"
	"mooring/pkg/barbican/scan"
	"mooring/pkg/etcd"
	etcdpeer "mooring/tests/peer/etcd"
)

// startEtcd starts a real etcd, which goes away with the test.
func startEtcd(t *testing.T) *etcdpeer.Server {
	t.Helper()
	server, err := etcdpeer.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// TestScan: a real etcd with what kube-apiserver's own code stores. Its members and a snapshot of it tell the same; what was rewritten,
// deleted and compacted does not count any more.
func TestScan(t *testing.T) {
	t.Parallel()
	server := startEtcd(t)
	put := func(key string, value []byte) {
		if _, err := server.Client.Put(t.Context(), key, string(value)); err != nil {
			t.Fatal(err)
		}
	}
	c := newCluster(t)
	older, newer := writer(c.key(t)), barbican.Entry{Ref: barbican.KeyRef{Secret: c.key(t), Generation: 2}}
	stop := c.plugin(t, "c", older)
	first := ready(t, c.apiserver(t))
	for i := range 250 {
		put(place(i), write(t, first, i))
	}
	stop()
	older.ReadOnly = true
	c.plugin(t, "c", newer, older)
	second := ready(t, c.apiserver(t))
	for i := range 100 { // rewritten
		put(place(i), write(t, second, i))
	}
	for i := range 10 {
		if _, err := server.Client.Delete(t.Context(), place(100+i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		put(fmt.Sprint("/registry/secrets/default/local", i), []byte("k8s:enc:aescbc:v1:key1:xxx"))
		put(fmt.Sprint("/registry/configmaps/default/c", i), []byte("k8s\x00"))
		put(fmt.Sprint("/registryother/secrets/default/x", i), []byte("k8s:enc:kms:v2:broken:"))
	}
	report := func() *scan.Report {
		t.Helper()
		snapshot := filepath.Join(t.TempDir(), "snapshot.db")
		if err := server.Snapshot(t.Context(), snapshot); err != nil {
			t.Fatal(err)
		}
		client, err := etcd.New(&etcd.Options{Endpoints: []string{server.Endpoint}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close() //nolint:errcheck // it has answered
		options := &scan.Options{Logger: slog.New(slog.DiscardHandler)}
		live, err := scan.Run(t.Context(), client, options)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := scan.Run(t.Context(), etcd.NewSnapshot(snapshot), options)
		if diff := cmp.Diff(live, saved); diff != "" || err != nil {
			t.Errorf("members and snapshot differ: %v\n%s", err, diff)
		}
		return live
	}
	use := func(ref barbican.KeyRef, count int64) scan.Use {
		return scan.Use{KeyID: ref.KeyID(), KeyIDHash: barbican.KeyIDHash(ref.KeyID()), Provider: "mooring", Resource: "secrets", Count: count}
	}
	counted := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".First" || p.Last().String() == ".Example" }, cmp.Ignore())
	unordered := func(uses []scan.Use) map[string]scan.Use {
		m := map[string]scan.Use{}
		for _, u := range uses {
			m[u.KeyID+u.Resource+u.Provider] = u
		}
		return m
	}
	got := report()
	plain := []scan.Plain{{Scheme: scan.AESCBC, Name: "key1", Resource: "secrets", Count: 5}, {Scheme: scan.Unencrypted, Resource: "configmaps", Count: 5}}
	if diff := cmp.Diff(unordered([]scan.Use{use(older.Ref, 140), use(newer.Ref, 100)}), unordered(got.Keys), counted); diff != "" || !got.Complete || got.Scanned != 250 {
		t.Errorf("%+v\n%s", got, diff)
	}
	if diff := cmp.Diff(plain, got.Plain, counted); diff != "" {
		t.Error(diff)
	}
	for i := 110; i < 250; i++ { // the rest, and what was before is dropped
		put(place(i), write(t, second, i))
	}
	now, err := server.Client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Client.Compact(t.Context(), now.Header.GetRevision(), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	got = report()
	if err := got.Unused(older.Ref.KeyID()); err != nil || got.InUse(newer.Ref.KeyID()) != 240 {
		t.Errorf("%v: %+v", err, got)
	}
	if err := got.Unused(newer.Ref.KeyID()); err == nil {
		t.Error("the key in use may be retired")
	}
}
