package chart_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// nodePlugins are the DaemonSets of the driver by their names.
func nodePlugins(t *testing.T, text string) map[string]*appsv1.DaemonSet {
	t.Helper()
	out := map[string]*appsv1.DaemonSet{}
	for _, object := range objects(t, text) {
		if d, ok := object.(*appsv1.DaemonSet); ok && d.Spec.Template.Spec.Containers[0].Args[0] == "manila-node" {
			out[d.Name] = d
		}
	}
	return out
}

// selects says whether a node with the labels gets the pod: of the terms one has to match, and the node selector beside them.
func selects(t *testing.T, p *corev1.PodSpec, node labels.Set) bool {
	t.Helper()
	if !labels.SelectorFromSet(p.NodeSelector).Matches(node) {
		return false
	}
	if p.Affinity == nil {
		return true
	}
	operators := map[corev1.NodeSelectorOperator]selection.Operator{corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn}
	for _, term := range p.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		matches := true
		for _, e := range term.MatchExpressions {
			r, err := labels.NewRequirement(e.Key, operators[e.Operator], e.Values)
			if err != nil {
				t.Fatal(err)
			}
			matches = matches && r.Matches(node)
		}
		if matches {
			return true
		}
	}
	return false
}

// Whatever labels a node has, one plugin runs there, of the image that the labels say; and none where the node selector does not match.
func TestANodeHasOnePlugin(t *testing.T) {
	t.Parallel()
	plugins := nodePlugins(t, everything(t))
	if len(plugins) != 2 {
		t.Fatalf("there are %d", len(plugins))
	}
	choices := map[string][]string{"kubernetes.io/os": {"linux", "windows"}, "ceph-client": {"", "fuse", "kernel"}, "pool": {"", "old", "new"}}
	nodes := []labels.Set{{}}
	for key, values := range choices {
		var more []labels.Set
		for _, node := range nodes {
			more = append(more, node) // without it
			for _, value := range values {
				with := maps.Clone(node)
				with[key] = value
				more = append(more, with)
			}
		}
		nodes = more
	}
	for _, node := range nodes {
		want := map[string]bool{"mooring-manila-node": false, "mooring-manila-node-fuse": false}
		if node["kubernetes.io/os"] == "linux" {
			fuse := node["ceph-client"] == "fuse" && node["pool"] == "old"
			want = map[string]bool{"mooring-manila-node": !fuse, "mooring-manila-node-fuse": fuse}
		}
		got := map[string]bool{}
		for name, d := range plugins {
			got[name] = selects(t, &d.Spec.Template.Spec, node)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("a node with %v (-want +got):\n%s", node, diff)
		}
	}
}

// The plugins of a release are the same driver, and neither DaemonSet takes the other's pods for its own. A node's port is given to one pod.
func TestPluginsDifferInWhatCephFuseNeeds(t *testing.T) {
	t.Parallel()
	plugins := nodePlugins(t, everything(t, "--set", "manila.node.removeStartupTaint=true"))
	kernel, fuse := plugins["mooring-manila-node"].Spec, plugins["mooring-manila-node-fuse"].Spec
	if image := kernel.Template.Spec.Containers[0].Image + "-fuse"; fuse.Template.Spec.Containers[0].Image != image {
		t.Errorf("the image is %s, not %s", fuse.Template.Spec.Containers[0].Image, image)
	}
	for _, pair := range [][2]appsv1.DaemonSetSpec{{kernel, fuse}, {fuse, kernel}} {
		if covers(pair[0].Template.Labels, pair[1].Selector.MatchLabels) || !covers(pair[0].Template.Labels, pair[0].Selector.MatchLabels) {
			t.Errorf("pods with %v, and a selector %v", pair[0].Template.Labels, pair[1].Selector.MatchLabels)
		}
		ports := pair[0].Template.Spec.Containers[0].Ports
		if len(ports) != 1 || ports[0].HostPort == 0 || ports[0].HostPort != ports[0].ContainerPort {
			t.Errorf("the ports of the node are %v", ports)
		}
	}
	fuse.Template.Spec.Affinity, fuse.Template.Spec.Containers[0].Image = kernel.Template.Spec.Affinity, kernel.Template.Spec.Containers[0].Image
	// what ceph-fuse keeps counts as the pod's, and mounts end where that is too much
	if limits := fuse.Template.Spec.Containers[0].Resources.Limits; !limits.Memory().IsZero() {
		t.Errorf("the memory of ceph-fuse is limited: %v", limits)
	}
	fuse.Template.Spec.Containers[0].Resources = kernel.Template.Spec.Containers[0].Resources
	fuse.Template.Spec.HostPID = false // TestContainersHaveTheRightsTheyNeed has it
	if diff := cmp.Diff(kernel.Template.Spec, fuse.Template.Spec); diff != "" {
		t.Errorf("the pods differ:\n%s", diff)
	}
}

// A DaemonSet's selector can't be changed: what is installed already stays what it is when fuseNodeSelector is set.
func TestPluginsAreUpgradedInPlace(t *testing.T) {
	t.Parallel()
	want := map[string]string{"app.kubernetes.io/name": "mooring", "app.kubernetes.io/instance": "mooring", "app.kubernetes.io/component": "manila-node"}
	for _, set := range []string{"fuse=false", "fuse=false,manila.node.fuseNodeSelector=null", "fuse=true,manila.node.fuseNodeSelector=null"} {
		plugin := nodePlugins(t, everything(t, "--set", "manila.node."+set))["mooring-manila-node"]
		if plugin == nil {
			t.Fatalf("with %s there is none", set)
		}
		if diff := cmp.Diff(want, plugin.Spec.Selector.MatchLabels); diff != "" {
			t.Errorf("with %s its selector is another one:\n%s", set, diff)
		}
	}
}

// A new version takes the place of a node plugin by itself only where no mount ends with it.
func TestAnUpgradeEndsNoMount(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]map[string]appsv1.DaemonSetUpdateStrategyType{
		"fuse=false": {"mooring-manila-node": appsv1.RollingUpdateDaemonSetStrategyType, "mooring-manila-node-fuse": appsv1.OnDeleteDaemonSetStrategyType},
		"fuse=true,manila.node.fuseNodeSelector=null":  {"mooring-manila-node": appsv1.OnDeleteDaemonSetStrategyType},
		"fuse=false,manila.node.fuseNodeSelector=null": {"mooring-manila-node": appsv1.RollingUpdateDaemonSetStrategyType},
	} {
		got := map[string]appsv1.DaemonSetUpdateStrategyType{}
		for name, d := range nodePlugins(t, everything(t, "--set", "manila.node."+set)) {
			got[name] = d.Spec.UpdateStrategy.Type
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with %s (-want +got):\n%s", set, diff)
		}
	}
}
