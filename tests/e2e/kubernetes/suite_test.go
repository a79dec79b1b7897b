package kubernetes_test

import "testing"

// A testCase uses the release that is installed in the cluster.
type testCase struct {
	name string
	test func(t *testing.T, c *cluster)
}

// together are cases that can go on at the same time.
func together() []testCase {
	return []testCase{
		{"NFS", testNFS},
		{"CephFS", testCephFS},
		{"NFS readers", testNFSReaders},
		{"CephFS readers", testCephFSReaders},
		{"shared", testShared},
		{"NFS life", testNFSLife},
		{"CephFS life", testCephFSLife},
		{"static", testStatic},
		{"quota", testQuota},
		{"NFS takeover", testNFSTakeover},
		{"CephFS takeover", testCephFSTakeover},
		{"attributes", testAttributes},
		{"static pod", testStaticPod},
		{"names", testNames},
		{"records", testRecords},
		{"cluster names", testClusterNames},
		{"hooks", testHooks},
	}
}

// alone are cases that others would suffer from: they stop what everybody uses. They come after the others, one by one.
func alone() []testCase {
	return []testCase{
		{"figures", testFigures}, // the first: before anything was killed
		{"away", testAway},
		{"controller", testController},
		{"rights", testRights}, // before another case makes the release go, and its roles before its pods
		{"plugin", testPlugin},
		{"keys", testKeys}, // the last: it restarts kube-apiserver
	}
}

// TestCluster installs the chart with all its modes, and uses them.
func TestCluster(t *testing.T) { //nolint:tparallel // its two parts come one after the other
	t.Parallel()
	c := openCluster(t)
	c.keys = newKeys(t, c)
	installSnapshotter(t, c)
	c.install(t, map[string]any{
		"cloud": map[string]any{"existingSecret": "mooring-cloud", "name": c.cloud.Name("demo")},
		"log":   map[string]any{"level": "debug"},
		"manila": map[string]any{
			"enabled": true, "clusterID": c.id, "cephSecretsNamespace": cephKeys,
			"snapshots": map[string]any{"enabled": true},
			"secrets":   []any{map[string]any{"namespace": release, "name": quotaSecret}},
			"node":      map[string]any{"fuseNodeSelector": map[string]any{"kubernetes.io/hostname": fuseNode}, "removeStartupTaint": true},
			"storageClasses": map[string]any{
				"nfs":    map[string]any{"enabled": true, "type": "cephfs-nfs"},
				"cephfs": map[string]any{"enabled": true, "type": "cephfs"},
			},
		},
		"dns":   map[string]any{"enabled": true},
		"tests": map[string]any{"image": "lab.local/busybox:1"},
		"kms":   c.keys.values(),
	})
	t.Run("together", func(t *testing.T) {
		for _, one := range together() {
			t.Run(one.name, func(t *testing.T) {
				t.Parallel()
				one.test(t, c)
			})
		}
	})
	for _, one := range alone() { //nolint:paralleltest // alone
		t.Run(one.name, func(t *testing.T) { one.test(t, c) })
	}
	c.nothingLeft(t)
}
