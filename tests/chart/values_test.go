package chart_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func load(t *testing.T, path ...string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := yaml.UnmarshalStrict(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// leaves are the paths of a chart's values. A map whose keys are the user's is one value.
func leaves(prefix string, values map[string]any) (paths []string) {
	for key, v := range values {
		path := strings.TrimPrefix(prefix+"."+key, ".")
		inner, isMap := v.(map[string]any)
		if isMap && !slices.Contains([]string{"resources", "fuseResources", "nodeSelector", "fuseNodeSelector", "clients", "parameters", "labels"}, key) {
			paths = append(paths, leaves(path, inner)...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}

// Every value is read by a template: a change of it changes what is rendered.
func TestEveryValueDoesSomething(t *testing.T) {
	t.Parallel()
	changes := load(t, "testdata", "changes.yaml")
	all := leaves("", load(t, chart, "values.yaml"))
	for _, path := range all {
		if _, ok := changes[path]; !ok {
			t.Errorf("testdata/changes.yaml has no other value for %s", path)
		}
	}
	beside := map[string]string{ // what excludes a value
		"kms.keyIDs":                           `kms.keyring="",kms.allowedCreators=[]`,
		"image.digest":                         `manila.node.fuseNodeSelector=null`,
		"manila.node.fuse":                     `manila.node.fuseNodeSelector=null`,
		"manila.storageClasses.cephfs.default": `manila.storageClasses.nfs.default=false`,
	}
	before := everything(t)
	for _, path := range slices.Sorted(maps.Keys(changes)) {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			if !slices.Contains(all, path) {
				t.Fatal("values.yaml has no such value")
			}
			value, err := json.Marshal(changes[path])
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"--set-json", path + "=" + string(value)}
			if other := beside[path]; other != "" {
				args = append(args, "--set-json", other)
			}
			after := everything(t, args...)
			if after == before {
				t.Errorf("%s changes nothing", value)
			}
			if !strings.HasSuffix(path, ".enabled") {
				objects(t, after)
			}
		})
	}
}

// The schema refuses what is misspelt, of the wrong type, or missing beside a switch.
func TestWrongValuesAreRefused(t *testing.T) {
	t.Parallel()
	all := leaves("", load(t, chart, "values.yaml"))
	var parents []string
	for _, path := range all {
		parent, _, _ := strings.Cut(path, ".")
		for _, rest := range strings.Split(strings.TrimPrefix(path, parent), ".")[1:] {
			if !slices.Contains(parents, parent) {
				parents = append(parents, parent)
			}
			parent += "." + rest
		}
	}
	type refusal struct{ set, says string }
	refusals := []refusal{
		{`typo=1`, "typo"},
		{`manila.node.tolerations=[{"effekt":"NoSchedule"}]`, "effekt"},
		{`dns.resources={"limit":{}}`, "limit"},
		{`cloud.existingSecret=""`, "/cloud/existingSecret"},
		{`cloud.existingSecret="Not_A_Name"`, "/cloud/existingSecret"},
		{`cloud.caConfigMap="Not_A_Name"`, "/cloud/caConfigMap"},
		{`cloud.httpsProxy="proxy.example.com:3128"`, "/cloud/httpsProxy"},
		{`cloud.httpProxy="ftp://proxy.example.com"`, "/cloud/httpProxy"},
		{`cloud.httpProxy="http://:3128"`, "/cloud/httpProxy"},
		{`cloud.httpsProxy="http://user:password@:3128"`, "/cloud/httpsProxy"},
		{`cloud.httpsProxy="http://proxy:notaport"`, "/cloud/httpsProxy"},
		{`cloud.httpsProxy="http://user:pass#word@proxy:3128"`, "/cloud/httpsProxy"}, // # ends what names the host
		{`cloud.httpsProxy="http://fd00::1:3128"`, "/cloud/httpsProxy"},
		{`cloud.noProxy=["a.example,b.example"]`, "/cloud/noProxy"},
		{`cloud.noProxy=["https://a.example"]`, "/cloud/noProxy"},
		{`cloud.noProxy=["a.example/v3"]`, "/cloud/noProxy"},
		{`cloud.noProxy=["$(HOME)"]`, "/cloud/noProxy"},
		{`image.digest="latest"`, "/image/digest"},
		{`image.digest="sha256:0123"`, "/image/digest"},
		{`image.digest="` + digest + `"`, "/image/fuseDigest"}, // some nodes take the image with ceph-fuse, which would go by its tag
		{`manila.sidecars.attacher.image="csi-attacher@sha256:0123"`, "/manila/sidecars/attacher/image"},
		{`tests.image="busybox@1.37"`, "/tests/image"},
		{`tests.image="busybox@sha512:` + strings.TrimPrefix(digest, "sha256:") + `"`, "/tests/image"},
		{`tests.image="[::1/busybox"`, "/tests/image"},
		{`image.pullPolicy="Sometimes"`, "/image/pullPolicy"},
		{`log.level="loud"`, "/log/level"},
		{`manila.enabled="yes"`, "/manila/enabled"},
		{`manila.shareProtocol="SMB"`, "/manila/shareProtocol"},
		{`manila.kubeletDirectory="var/lib/kubelet"`, "/manila/kubeletDirectory"},
		{`manila.controller.replicas=0`, "/manila/controller/replicas"},
		{`manila.node.adminPort=70000`, "/manila/node/adminPort"},
		{`manila.node.fuse=true`, "/manila/node/fuseNodeSelector"},
		{`manila.node.fuseNodeSelector={"ceph-client":true}`, "/manila/node/fuseNodeSelector"},
		{`manila.attach="yes"`, "/manila/attach"},
		{`manila.attach=false,manila.storageClasses.nfs.clients=[]`, "/manila/storageClasses/nfs/clients"},
		{`manila.attach="auto",manila.driverName="nfs.manila.csi.openstack.org",manila.storageClasses.nfs.clients=[]`, "/manila/storageClasses/nfs/clients"},
		{`manila.node.adminAddress="localhost"`, "/manila/node/adminAddress"},
		{`monitoring.serviceMonitor.interval=30`, "/monitoring/serviceMonitor/interval"},
		{`manila.exportNetwork="10.0.0.1"`, "/manila/exportNetwork"},
		{`manila.fsGroupPolicy="Always"`, "/manila/fsGroupPolicy"},
		{`manila.secrets=[{"name":"secret"}]`, "/manila/secrets"},
		{`manila.secrets=[{"name":"secret","namespace":"default","key":"x"}]`, "key"},
		{`manila.sidecars.timeout=120`, "/manila/sidecars/timeout"},
		{`manila.snapshots.deletionPolicy="Keep"`, "/manila/snapshots/deletionPolicy"},
		{`manila.storageClasses.nfs.bindingMode="Late"`, "/manila/storageClasses/nfs/bindingMode"},
		{`manila.volumeAttributesClasses=[{"name":"empty","parameters":{}}]`, "/manila/volumeAttributesClasses"},
		{`manila.node.cidrs=["10.0.0.5"]`, "/manila/node/cidrs"},
		{`manila.storageClasses.nfs.clients=["node-1"]`, "/manila/storageClasses/nfs/clients"},
		{`manila.storageClasses.cephfs.nodeStageSecret=""`, "/manila/storageClasses/cephfs/nodeStageSecret"},
		{`manila.cephSecretsNamespace="Not_A_Name"`, "/manila/cephSecretsNamespace"},
		{`kms.clusterID=""`, "/kms/clusterID"},
		{`kms.keyring="",kms.compatWrite=false`, "/kms/keyIDs"},
		{`kms.legacyKeys=[]`, "/kms/legacyKeys"},
		{`kms.keyring="my-keyring"`, "/kms/keyring"},
		{`kms.keyIDs=["my-key"]`, "/kms/keyIDs"},
		{`kms.keyIDs=["aaaaaaaa-2222-3333-4444-555555555555"]`, "/kms/keyIDs"},
		{`kms.keyring="",kms.keyIDs=["aaaaaaaa-2222-3333-4444-555555555555"]`, "/kms/allowedCreators"},
		{`kms.activationDelay=600`, "/kms/activationDelay"},
		{`kms.maxStaleness="0"`, "/kms/maxStaleness"},
		{`kms.onRevocation="panic"`, "/kms/onRevocation"},
		{`kms.legacyKeys=["my-key"]`, "/kms/legacyKeys"},
		{`kms.adminAddress="localhost"`, "/kms/adminAddress"},
		{`dns.clients={"app.kubernetes.io/name":null}`, "/dns/clients"},
		{`manila.driverName="a..b"`, "/manila/driverName"},
		{`manila.node.adminAddress="999.0.0.1"`, "/manila/node/adminAddress"},
		{`manila.sidecars.timeout="0s"`, "/manila/sidecars/timeout"},
		{`manila.attach=false,manila.storageClasses.nfs.clients=null`, "/manila/storageClasses/nfs"},
		{`manila.secrets=[{"name":"a","namespace":"b"},{"name":"a","namespace":"b"}]`, "/manila/secrets"},
		{`manila.storageClasses.nfs.parameters={"type":"gold"}`, "/manila/storageClasses/nfs/parameters"}, // the class has those of other values
		{`manila.storageClasses.nfs.parameters={"access":"none"}`, "/manila/storageClasses/nfs/parameters"},
		{`manila.storageClasses.cephfs.parameters={"csi.storage.k8s.io/node-stage-secret-name":"another"}`, "/manila/storageClasses/cephfs/parameters"},
		{`dns.domainFilters=["a.example,b.example"]`, "/dns/domainFilters"},
	}
	for _, parent := range parents {
		refusals = append(refusals, refusal{parent + `.typo="x"`, "typo"})
	}
	if len(refusals) < 30 {
		t.Errorf("only %d refusals", len(refusals))
	}
	for _, r := range refusals {
		t.Run(r.set, func(t *testing.T) {
			t.Parallel()
			_, err := template(t, "--values", filepath.Join("testdata", "everything.yaml"), "--set-json", r.set)
			if err == nil || !strings.Contains(err.Error(), r.says) {
				t.Errorf("helm says: %v", err)
			}
		})
	}
}

// The schema takes what Go takes for a proxy, and what Kubernetes takes for an image.
func TestRightValuesAreTaken(t *testing.T) {
	t.Parallel()
	long := "sha512:" + strings.Repeat("0123456789abcdef", 8)
	for _, set := range []string{
		`cloud.httpsProxy="http://proxy"`,
		`cloud.httpsProxy="https://proxy.example.com:3128/"`,
		`cloud.httpsProxy="socks5h://user:p%40ss$word!@proxy_1:1080"`,
		`cloud.httpsProxy="http://10.0.0.1:3128"`,
		`cloud.httpsProxy="http://[fd00::1]:3128"`,
		`cloud.noProxy=["*", "host", "host:8443", ".example.com", "*.example.com", "10.0.0.1", "fd00::1", "[fd00::1]:443", "10.0.0.0/8", "fd00::/8"]`,
		`tests.image="Registry.local/busybox:v1"`,
		`tests.image="[::1]:5000/busybox:v1"`,
		`tests.image="busybox@` + long + `"`,
		`manila.sidecars.attacher.image="[fd00::1]/csi-attacher:v4@` + long + `"`,
		`image.repository="Registry.local:5000/mooring"`,
		`image.repository="[fd00::1]:5000/mooring"`,
		`image.digest="` + long + `",image.fuseDigest="` + long + `"`,
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			objects(t, everything(t, "--set-json", set))
		})
	}
}
