package cli

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"mooring/pkg/kubernetes/kubernetestest"
	"mooring/pkg/manila"
	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
	"mooring/pkg/poll"
)

// pair is a simulated cloud and a cluster.
type pair struct {
	*openstacksim.Cloud
	cluster *kubernetestest.Server
	session *openstack.Session
	client  *manila.Client
	config  string // of the cluster
	env     map[string]string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	sim, err := openstacksim.Start(openstacksim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	p := &pair{Cloud: sim, cluster: kubernetestest.New(t), env: map[string]string{}}
	p.config = p.cluster.Kubeconfig(t, t.TempDir())
	credential, err := openstack.Source{
		Cloud: "demo", CloudsFile: "c", LookupEnv: func(string) (string, bool) { return "", false }, ReadFile: func(string) ([]byte, error) { return sim.CloudsYAML(), nil },
	}.Load()
	if err != nil {
		t.Fatal(err)
	}
	pool := openstack.NewPool(openstack.Options{})
	t.Cleanup(pool.Close)
	p.session = pool.Session(credential)
	p.client = manila.New(p.session, manila.Options{Poll: poll.Backoff{First: time.Millisecond, Max: 10 * time.Millisecond, Factor: 2}})
	return p
}

// run runs a tool and returns its exit code and what it wrote.
func (p *pair) run(args ...string) (code int, out, errs string) {
	w := newWorld()
	w.files["clouds.yaml"] = string(p.CloudsYAML())
	maps.Copy(w.env, p.env)
	code = w.main(append([]string{"shares"}, append(args, "--clouds-file=clouds.yaml", "--os-cloud=demo", "--kubeconfig="+p.config)...)...)
	return code, w.out.String(), w.errs.String()
}

// share makes one of a cluster.
func (p *pair) share(t *testing.T, name, cluster string) *manila.Volume {
	t.Helper()
	v, err := p.client.Provision(t.Context(), &manila.Spec{
		Name: name, Cluster: cluster, SizeGiB: 1, Protocol: manila.NFS, Type: "cephfs-nfs", Grants: []manila.Grant{{Kind: manila.KindIP, To: "10.0.0.0/24", Level: "rw"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// nodeRule makes an access rule for a node.
func (p *pair) nodeRule(t *testing.T, share, node, address string) {
	t.Helper()
	c, err := p.session.Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	c.Microversion = "2.45"
	body := map[string]any{"allow_access": map[string]any{
		"access_type": "ip", "access_to": address, "access_level": "rw",
		"metadata": map[string]string{manila.ClusterKey: "c1", manila.ManagedByKey: manila.ManagedBy, "mooring-node:" + node: "1"},
	}}
	resp, err := c.Post(t.Context(), c.Endpoint+"shares/"+share+"/action", body, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusAccepted}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

func (p *pair) volume(name, driver, handle string) {
	p.cluster.Add("/api/v1/persistentvolumes", kubernetestest.Object{
		"metadata": map[string]any{"name": name}, "status": map[string]any{"phase": "Bound"},
		"spec": map[string]any{"csi": map[string]any{"driver": driver, "volumeHandle": handle}, "claimRef": map[string]any{"namespace": "ns", "name": "data"}},
	})
}

func TestSharesList(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	a, b, old := p.share(t, "pvc-a", "c1"), p.share(t, "pvc-b", "c1"), p.share(t, "old", "")
	p.share(t, "pvc-z", "c2")
	p.volume("pvc-a", "manila.csi.openstack.org", a.Share.ID)
	p.volume("by-hand", "nfs.manila.csi.openstack.org", old.Share.ID)
	p.nodeRule(t, b.Share.ID, "node-1", "10.1.0.1")
	code, out, errs := p.run("list", "--cluster-id=c1")
	if code != exitOK || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var got [][]string
	for _, line := range lines {
		got = append(got, strings.Fields(line))
	}
	want := [][]string{
		{"SHARE", "NAME", "SIZE", "PROTOCOL", "STATUS", "PV", "PVC", "RULES"},
		{old.Share.ID, "old", "1Gi", "NFS", "available", "by-hand", "ns/data", "ip:10.0.0.0/24:rw"},
		{a.Share.ID, "pvc-a", "1Gi", "NFS", "available", "pvc-a", "ns/data", "ip:10.0.0.0/24:rw"},
		{b.Share.ID, "pvc-b", "1Gi", "NFS", "available", "-", "-", "ip:10.0.0.0/24:rw,ip:10.1.0.1:rw@node-1"},
	}
	if !slices.EqualFunc(want, got, slices.Equal) {
		t.Errorf("it lists\n%s", out)
	}
	code, out, errs = p.run("list", "--output=json")
	var shares []listedShare
	if err := json.Unmarshal([]byte(out), &shares); err != nil || code != exitOK || len(shares) != 2 || shares[1].PV != "pvc-a" || shares[1].Rules[0].State != "active" {
		t.Errorf("exit %d: %v: %s%s", code, err, out, errs)
	}
	if used := p.cluster.Used(); !slices.Equal(used, []string{"list persistentvolumes"}) {
		t.Errorf("it needs %q", used)
	}
	p.cluster.Deny("list persistentvolumes")
	if code, out, errs := p.run("list"); code != exitFailure || out != "" || !strings.Contains(errs, "403 Forbidden: persistentvolumes is forbidden") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// estate is a cluster with a share that is known, one that is lost, with snapshots of both, and rules.
func (p *pair) estate(t *testing.T) (lost string, orphans []string) {
	t.Helper()
	a, b := p.share(t, "pvc-a", "c1").Share.ID, p.share(t, "pvc-b", "c1").Share.ID
	p.share(t, "pvc-z", "c2")
	p.share(t, "nobody", "")
	p.volume("pvc-a", "manila.csi.openstack.org", a)
	snapshot := func(name, share, cluster string) string {
		s, err := p.client.Snapshot(t.Context(), &manila.SnapshotSpec{Name: name, Cluster: cluster, ShareID: share})
		if err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	content := snapshot("with-content", a, "c1")
	p.cluster.Add("/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents", kubernetestest.Object{
		"metadata": map[string]any{"name": "x"}, "spec": map[string]any{"source": map[string]any{"volumeHandle": a}}, "status": map[string]any{"snapshotHandle": content},
	})
	snapshot("somebody's", a, "")
	s1, s2, s3 := snapshot("lost", a, "c1"), snapshot(manila.CloneSnapshotName("pvc-c"), a, "c1"), snapshot("of-lost", b, "c1")
	p.cluster.Add("/api/v1/nodes", kubernetestest.Object{"metadata": map[string]any{"name": "here"}})
	p.nodeRule(t, a, "here", "10.1.0.1")
	p.nodeRule(t, a, "gone", "10.1.0.2")
	have, err := p.client.Inventory(t.Context(), func(s *manila.Share) bool { return s.ID == a })
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range have.Rules[a] {
		if r.To == "10.1.0.2" {
			orphans = append(orphans, r.ID)
		}
	}
	orphans = append(orphans, s1, s2, s3, b)
	slices.Sort(orphans)
	return b, orphans
}

// results are what became of each orphan, of those that were found.
func results(t *testing.T, out string) map[string]string {
	t.Helper()
	var found []foundOrphan
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := map[string]string{}
	for _, f := range found {
		m[f.ID] = f.Result
	}
	return m
}

var orphansOf = []string{"orphans", "--cluster-id=c1", "--min-age=0s", "--output=json"}

func TestSharesOrphans(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	_, want := p.estate(t)
	before := p.Manila.Counts()
	code, out, errs := p.run(orphansOf...)
	if got := results(t, out); code != exitOK || errs != "" || !slices.Equal(slices.Sorted(maps.Keys(got)), want) || p.Manila.Counts() != before {
		t.Fatalf("exit %d, %s: it finds\n%s", code, errs, out)
	}
	p.env["MOORING_DELETE"] = "true" // that has to be said each time
	if code, out, errs := p.run(orphansOf...); code != exitOK || errs != "" || p.Manila.Counts() != before {
		t.Fatalf("with a variable: exit %d, %s: %s", code, errs, out)
	}
	if code, out, _ := p.run("orphans", "--cluster-id=c1"); code != exitOK || strings.Count(out, "\n") != 1 {
		t.Errorf("what is young: exit %d: %s", code, out)
	}
	code, out, errs = p.run(append(orphansOf, "--delete")...)
	for id, result := range results(t, out) {
		if result != "deleted" {
			t.Errorf("%s: %s", id, result)
		}
	}
	after := p.Manila.Counts() // the lost share takes its rule along
	want2 := openstacksim.ManilaCounts{Shares: before.Shares - 1, Snapshots: before.Snapshots - 3, Rules: before.Rules - 2}
	if code != exitOK || errs != "" || after != want2 {
		t.Errorf("exit %d, %s: left %+v, want %+v", code, errs, after, want2)
	}
	rights := []string{"list nodes", "list persistentvolumeclaims", "list persistentvolumes", "list volumeattachments", "list volumesnapshotcontents"}
	if used := p.cluster.Used(); !slices.Equal(used, rights) {
		t.Errorf("it needs %q", used)
	}
	if code, out, _ := p.run(append(orphansOf, "--delete")...); code != exitOK || strings.TrimSpace(out) != "[]" {
		t.Errorf("again: exit %d: %s", code, out)
	}
}

// Whatever can't be read, nothing is deleted.
func TestSharesOrphansRefuse(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.estate(t)
	for i := range 600 {
		p.volume("pv-"+time.Duration(i).String(), "another", "h")
	}
	before := p.Manila.Counts()
	remove := append(slices.Clone(orphansOf), "--delete")
	refused := func(name, text string, args ...string) {
		t.Helper()
		code, out, errs := p.run(append(remove, args...)...)
		if code != exitFailure || out != "" || !strings.Contains(errs, text) || p.Manila.Counts() != before {
			t.Errorf("%s: exit %d: %s%s", name, code, out, errs)
		}
	}
	for path, more := range map[string]kubernetestest.Fault{
		"/persistentvolumes$": {Skip: 1}, "/persistentvolumeclaims$": {}, "/volumesnapshotcontents$": {}, "/volumeattachments$": {}, "/nodes$": {},
	} {
		for _, status := range []int{401, 403, 500} {
			more.Path, more.Status, more.Count = path, status, 4
			if status < 500 {
				more.Count = 1
			}
			p.cluster.Fail(more)
			refused(path, "nothing was deleted, since not everything could be listed: Kubernetes: GET ")
		}
	}
	for _, path := range []string{"^/v2/shares/detail", "^/v2/snapshots/detail", "^/v2/share-access-rules"} {
		p.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Path: path, Status: 403, Count: 1})
		refused(path, "nothing was deleted, since not everything could be listed")
	}
	refused("another driver", `in a PersistentVolume or VolumeSnapshotContent of ["x.example"]: is it the right cluster?`, "--driver-name=x.example")
	if code, _, errs := p.run(append(orphansOf, "--driver-name=x.example", "--even-if-empty")...); code != exitOK {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestSharesOrphansOfAnotherCluster: a kubeconfig of another cluster that has volumes of the driver, too, deletes nothing.
func TestSharesOrphansOfAnotherCluster(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	used := p.share(t, "pvc-a", "c1").Share.ID
	p.volume("pvc-z", "manila.csi.openstack.org", p.share(t, "pvc-z", "c2").Share.ID)
	code, out, errs := p.run(append(orphansOf, "--delete")...)
	if code != exitFailure || out != "" || !strings.Contains(errs, "is it the right cluster?") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if _, err := p.client.Share(t.Context(), used); err != nil {
		t.Error(err)
	}
}

// TestSharesOrphansOfALostClaim: a claim that is still there keeps its share, though its PersistentVolume was lost (and may be made anew).
func TestSharesOrphansOfALostClaim(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	const uid = "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"
	used := p.share(t, "pvc-"+uid, "c1").Share.ID
	p.volume("pvc-a", "manila.csi.openstack.org", p.share(t, "pvc-a", "c1").Share.ID)
	p.cluster.Add("/api/v1/persistentvolumeclaims", kubernetestest.Object{
		"metadata": map[string]any{"namespace": "ns", "name": "data", "uid": uid}, "spec": map[string]any{"volumeName": "pvc-" + uid}, "status": map[string]any{"phase": "Lost"},
	})
	if code, out, errs := p.run(append(orphansOf, "--delete")...); code != exitOK || strings.TrimSpace(out) != "[]" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if _, err := p.client.Share(t.Context(), used); err != nil {
		t.Error(err)
	}
}

// TestSharesOrphansInUseAgain: what somebody takes into use between the look and the deletion stays; what can't be deleted is told, and
// the others go all the same.
func TestSharesOrphansInUseAgain(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	lost, all := p.estate(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // once the first list of nodes is read, the lost share gets a volume
		for ctx.Err() == nil {
			if slices.Contains(p.cluster.Calls(), "GET /api/v1/nodes") {
				p.volume("pvc-b", "manila.csi.openstack.org", lost)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	p.Faults.Add(openstacksim.Fault{Service: openstacksim.ServiceManila, Method: http.MethodDelete, Path: "^/v2/snapshots/", Status: 403, Count: 1})
	code, out, errs := p.run(append(orphansOf, "--delete")...)
	got := results(t, out)
	if code != exitFailure || !strings.Contains(errs, "snapshot ") || len(got) != len(all) || got[lost] != "no orphan any more" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	count := map[string]int{}
	for _, result := range got {
		count[result]++
	}
	if count["deleted"] != 3 || count["not deleted"] != 1 {
		t.Errorf("%v", got)
	}
	if _, err := p.client.Share(t.Context(), lost); err != nil {
		t.Error(err)
	}
}

func TestSharesMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no command":      {nil, []string{"mooring shares: a command is missing: list or orphans"}},
		"unknown command": {[]string{"orphan"}, []string{`there is no command "orphan"`}},
		"nothing": {[]string{"orphans"}, []string{
			"--cluster-id (MOORING_CLUSTER_ID) is missing", "--kubeconfig: no Kubernetes cluster is named", "no cloud is named",
		}},
		"values": {[]string{"orphans", "--cluster-id=c", "--min-age=-1h", "--output=xml", "--driver-name=a,b_c", "--kubeconfig=/no/such", "--drain-timeout=1s"}, []string{
			"--min-age: -1h0m0s is negative", `--output: "xml" has to be table or json`, `--driver-name: "b_c"`, "/no/such", "there is no flag --drain-timeout", "no cloud is named",
		}},
	} {
		w := newWorld()
		if code := w.main(append([]string{"shares"}, c.args...)...); code != exitUsage {
			t.Errorf("%s: exit %d", name, code)
		}
		for _, want := range c.want {
			if !strings.Contains(w.errs.String(), want) {
				t.Errorf("%s: no %q in %s", name, want, w.errs.String())
			}
		}
	}
}
