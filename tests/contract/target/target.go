// Package target gives contract tests the cloud they run against: a simulated one of their own, or a real one.
//
// With MOORING_CONTRACT_CLOUDS set to the path of a clouds.yaml, the cases run on the clouds of that file (see tests/lab),
// otherwise on a simulator. The cases are the same, so that the simulator can't drift from the truth.
package target

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mooring/pkg/openstack"
	"mooring/pkg/openstack/openstacksim"
)

// Variable names the clouds.yaml of a real cloud.
const Variable = "MOORING_CONTRACT_CLOUDS"

// Cloud is where a test's calls go.
type Cloud struct {
	// Real says that this is a real OpenStack: there are no faults to inject and no calls to count.
	Real bool
	// Sim is the simulator; nil on a real cloud.
	Sim *openstacksim.Cloud

	file string
	pool *openstack.Pool
}

// Open gives a test its cloud, which goes away with the test. A simulated one has short but real delays: what is
// asynchronous in the truth is asynchronous here.
func Open(t *testing.T) *Cloud {
	t.Helper()
	if file := os.Getenv(Variable); file != "" {
		c := newCloud(t)
		c.Real, c.file = true, file
		return c
	}
	return Simulate(t, openstacksim.Config{})
}

func newCloud(t *testing.T) *Cloud {
	t.Helper()
	c := &Cloud{pool: openstack.NewPool(openstack.Options{})}
	t.Cleanup(c.pool.Close)
	return c
}

// Simulate gives a test a simulated cloud always: one that no real one at hand is like.
func Simulate(t *testing.T, config openstacksim.Config) *Cloud {
	t.Helper()
	c := newCloud(t)
	sim, err := openstacksim.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	c.Sim, c.file = sim, filepath.Join(t.TempDir(), "clouds.yaml")
	if err := os.WriteFile(c.file, sim.CloudsYAML(), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// CloudsFile is the clouds.yaml with the clouds demo, other, quota, hsm, admin and appcred.
func (c *Cloud) CloudsFile() string { return c.file }

// Name is what a cloud of the simulator is called in CloudsFile: the lab's tenant is e2e.
func (c *Cloud) Name(cloud string) string {
	if c.Real && cloud == "demo" {
		return "e2e"
	}
	return cloud
}

// Session logs in as demo (a tenant), other (another one), quota (one with tiny quotas), hsm (whose keys are in an HSM),
// admin or appcred (demo by an application credential).
func (c *Cloud) Session(t *testing.T, cloud string) *openstack.Session {
	t.Helper()
	return c.pool.Session(c.Credential(t, cloud))
}

// Credential is what Session logs in with.
func (c *Cloud) Credential(t *testing.T, cloud string) *openstack.Credential {
	t.Helper()
	none := func(string) (string, bool) { return "", false }
	credential, err := openstack.Source{Cloud: c.Name(cloud), CloudsFile: c.file, LookupEnv: none, ReadFile: os.ReadFile}.Load()
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// Secret is what Session logs in with as a Secret of Kubernetes has it, in the words of cloud-provider-openstack's Manila plugin.
func (c *Cloud) Secret(t *testing.T, cloud string) map[string]string {
	t.Helper()
	from := c.Credential(t, cloud)
	return map[string]string{
		"os-authURL": from.AuthURL, "os-region": from.Region, "os-userName": from.Username, "os-password": from.Password, "os-projectName": from.ProjectName,
		"os-userDomainName": from.UserDomainName, "os-projectDomainName": from.ProjectDomainName,
	}
}

// Unique makes a name that no other test and no earlier run has: lower case, letters, digits and dashes.
func Unique(t *testing.T) string {
	t.Helper()
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '-'
		}
	}, t.Name())
	return "mooring-" + strings.Trim(clean[:min(len(clean), 30)], "-") + "-" + hex.EncodeToString(b[:])
}

// Patience is how long a real cloud may take for anything asynchronous.
const Patience = 2 * time.Minute

// Eventually waits until ask says yes, asking every 100 ms, and fails the test when Patience has passed; the text says what
// was awaited.
func Eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ask(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, Patience)
		}
		if err := t.Context().Err(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
