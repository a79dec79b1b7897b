package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/manila"
	"mooring/pkg/openstack"
)

// atOnce is how many claims are made before each death of a controller.
const atOnce = 5

// testController ends the elected controller when Manila has begun with the shares of some claims: first its process, which starts again; then,
// with more claims, its whole pod, for which another one has to take over. In the end each claim has one share, and nothing is left over.
func testController(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	namespace := c.namespace(t)
	for round, end := range []func(elected container){
		func(elected container) { c.kill(t, elected) },
		func(elected container) {
			c.kubectl(t, "delete", "pod", elected.pod, "-n", release, "--grace-period=0", "--force", "--wait=false")
			eventually(t, "another controller is elected", func() bool { return c.holder(t) != elected.pod })
		},
	} {
		elected := c.container(t, "manila-controller", c.holder(t))
		began := time.Now()
		for i := range atOnce {
			class := []string{"manila-nfs", "manila-cephfs"}[i%2]
			c.apply(t, "claim.yaml", map[string]string{"NAMESPACE": namespace, "CLAIM": class + "-" + strconv.Itoa(round*atOnce+i), "CLASS": class, "SIZE": "1Gi"})
		}
		has := 0
		eventually(t, "Manila has a share of the new claims", func() bool {
			has = len(c.shares(t, namespace)) - round*atOnce
			return has > 0
		})
		end(elected)
		t.Logf("the controller on %s was ended when %d of %d shares were begun", elected.node, has, atOnce)
		c.kubectl(t, "wait", "--for=jsonpath={.status.phase}=Bound", "-n", namespace, "--timeout=3m", "persistentvolumeclaims", "--all")
		t.Logf("all claims were bound %v after the first one was made", time.Since(began).Round(time.Second))
		c.kubectl(t, "rollout", "status", "deployment/"+release+"-manila-controller", "-n", release, "--timeout=3m")
	}
	made := c.shares(t, namespace)
	for _, claim := range c.claims(t, namespace) {
		if ids := made[claim.share]; len(ids) != 1 || ids[0] != c.handle(t, claim.volume) {
			t.Errorf("claim %s has the volume %s, and the shares %q", claim.name, claim.volume, ids)
		}
	}
	if found := c.orphans(t); len(found) > 0 {
		t.Errorf("orphaned: %q", found)
	}
}

// holder is the pod whose provisioner is elected to make volumes.
func (c *cluster) holder(t *testing.T) string {
	t.Helper()
	return c.kubectl(t, "get", "lease", "manila-csi-openstack-org", "-n", release, "-o", "jsonpath={.spec.holderIdentity}")
}

type claim struct {
	name, volume string
	share        string // its name
}

func (c *cluster) claims(t *testing.T, namespace string) (found []claim) {
	t.Helper()
	const columns = `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.spec.volumeName}{"\n"}{end}`
	for line := range strings.Lines(c.kubectl(t, "get", "persistentvolumeclaims", "-n", namespace, "-o", columns)) {
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		uid, volume, _ := strings.Cut(rest, " ")
		found = append(found, claim{name: name, volume: volume, share: "pvc-" + uid})
	}
	return found
}

// shares are the ids of Manila's shares by their names, of the claims of a namespace.
func (c *cluster) shares(t *testing.T, namespace string) map[string][]string {
	t.Helper()
	manila, err := c.cloud.Session(t, "demo").Client(t.Context(), openstack.SharedFileSystem)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := shares.ListDetail(manila, shares.ListOpts{}).AllPages(t.Context())
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	all, err := shares.ExtractShares(pages)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, claim := range c.claims(t, namespace) {
		for i := range all {
			if all[i].Name == claim.share {
				found[claim.share] = append(found[claim.share], all[i].ID)
			}
		}
	}
	return found
}

// orphans is what "mooring shares orphans" finds of this run's cluster.
func (c *cluster) orphans(t *testing.T) (found []string) {
	t.Helper()
	var list []manila.Orphan
	out := c.keys.mooring(t, "shares", "orphans", "--cluster-id", c.id, "--kubeconfig", c.lab.Kubeconfig, "--min-age", "0s", "--even-if-empty")
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for i := range list {
		found = append(found, fmt.Sprintf("%s %s %s: %s", list[i].Kind, list[i].ID, list[i].Name, list[i].Reason))
	}
	return found
}
