package kubernetes_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/openstack"
)

// quotaSecret has the credential of the tenant with next to nothing (3 GiB, 2 shares), in the release's namespace: manila.secrets names it.
const quotaSecret = "quota-tenant"

// testQuota has claims of a class with another tenant's credential, and more of them than that tenant's quota allows: the claim's events say what is
// exceeded, and the claim is bound when there is room.
func testQuota(t *testing.T, c *cluster) { //nolint:thelper // a test of its own
	client := c.manila(t, "quota")
	for _, left := range volumesOf(t, client) { // by a run that was killed
		if err := shares.Delete(t.Context(), client, left.ID).ExtractErr(); err != nil {
			t.Fatal(openstack.Wrap(err))
		}
	}
	eventually(t, "the tenant has no volume", func() bool { return len(volumesOf(t, client)) == 0 })
	namespace := c.namespace(t)
	c.deleted(t, "storageclass/"+namespace)
	c.tenantSecret(t, release, quotaSecret, "quota")
	c.apply(t, "quota.yaml", map[string]string{"CLASS": namespace, "SECRET": quotaSecret, "RELEASE": release})
	claim := func(name string) {
		c.apply(t, "claim.yaml", map[string]string{"CLASS": namespace, "NAMESPACE": namespace, "CLAIM": name, "SIZE": "2Gi"})
	}
	told := func(name, reason string) {
		text := ""
		eventually(t, "an event "+reason+" of the claim "+name+" that says what is used up, and what to do", func() bool {
			text = strings.ToLower(c.kubectl(t, "get", "events", "-n", namespace, "--field-selector", "reason="+reason+",involvedObject.name="+name, "-o", "jsonpath={.items[*].message}"))
			for _, word := range []string{"resourceexhausted", "quota", "gigabytes", "req-", "quota is raised"} {
				if !strings.Contains(text, word) {
					return false
				}
			}
			return true
		})
		t.Log(text)
	}
	claim("fits")
	c.bound(t, namespace, "fits")
	if got := volumesOf(t, client); len(got) != 1 || got[0].Size != 2 {
		t.Errorf("the tenant of the class's secret has %+v", got)
	}
	claim("too-much")
	told("too-much", "ProvisioningFailed")
	c.kubectl(t, "delete", "persistentvolumeclaim/fits", "-n", namespace, "--wait", "--timeout=90s")
	c.bound(t, namespace, "too-much") // once there is room
	c.kubectl(t, "patch", "persistentvolumeclaim/too-much", "-n", namespace, "--type=merge", "-p", `{"spec":{"resources":{"requests":{"storage":"4Gi"}}}}`)
	told("too-much", "VolumeResizeFailed")
}

// volumesOf are a tenant's shares that external-provisioner has asked for.
func volumesOf(t *testing.T, client *gophercloud.ServiceClient) []shares.Share {
	t.Helper()
	pages, err := shares.ListDetail(client, shares.ListOpts{}).AllPages(t.Context())
	if err != nil {
		t.Fatal(openstack.Wrap(err))
	}
	all, err := shares.ExtractShares(pages)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(s shares.Share) bool { return !strings.HasPrefix(s.Name, "pvc-") })
}
