// Package sanity runs csi-sanity, unmodified: here over the simulator, in tests/e2e/openstack on a real OpenStack.
package sanity

import (
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
	can := map[string]map[string]bool{}
	for name, config := range drivers {
		can[name] = declared(t, config)
		ginkgo.Describe(name, func() { csisanity.GinkgoTest(config) })
	}
	passed, skipped := map[string]int{}, map[string]map[string]int{}
	ginkgo.ReportAfterEach(func(r ginkgo.SpecReport) {
		switch r.State {
		case types.SpecStatePassed:
			passed[r.ContainerHierarchyTexts[0]]++
		case types.SpecStateSkipped:
			name := r.ContainerHierarchyTexts[0]
			if skipped[name] == nil {
				skipped[name] = map[string]int{}
			}
			skipped[name][r.Failure.Message]++
		default: // Ginkgo tells t of the others
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
		lacking(t, name, can[name], skipped[name])
	}
}
