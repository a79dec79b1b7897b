// Package sanity runs csi-sanity, unmodified: here over the simulator, in tests/e2e/openstack on a real OpenStack.
package sanity

import (
	"strings"
	"testing"

	csisanity "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
)

// Run runs csi-sanity for each of the drivers, by name, as one suite. Every spec has to pass, or to be skipped for a
// capability that the driver does not declare. Ginkgo has global state: there may be one Run in a process.
func Run(t *testing.T, title string, drivers map[string]*csisanity.TestConfig) {
	t.Helper()
	for name, config := range drivers {
		ginkgo.Describe(name, func() { csisanity.GinkgoTest(config) })
	}
	passed := map[string]int{}
	ginkgo.ReportAfterEach(func(r ginkgo.SpecReport) {
		switch {
		case r.State == types.SpecStatePassed:
			passed[r.ContainerHierarchyTexts[0]]++
		case r.State == types.SpecStateSkipped && !forLackOfCapability(r.Failure.Message):
			t.Errorf("skipped for another reason than an undeclared capability: %s: %s", r.FullText(), r.Failure.Message)
		}
	})
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, title)
	for name := range drivers {
		const least = 60 // specs that run with the capabilities that are declared: a suite that skips all would pass, too
		if passed[name] < least {
			t.Errorf("%s: %d specs passed, want at least %d", name, passed[name], least)
		}
		t.Logf("%s: %d specs passed", name, passed[name])
	}
}

// forLackOfCapability knows the reasons for which a spec may be skipped: the driver does not claim to be able to.
func forLackOfCapability(message string) bool {
	for _, s := range []string{
		"not supported", "does not have", "Unsupported", "unsupported", "not provided",
		"testnodevolumeattachlimit not enabled", // the node claims no max_volumes_per_node
	} {
		if strings.Contains(message, s) {
			return true
		}
	}
	return false
}
