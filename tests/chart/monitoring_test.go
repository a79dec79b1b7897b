package chart_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// serviceMonitor is the Prometheus operator's object, with the fields that ours has.
type serviceMonitor struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       struct {
		JobLabel string `json:"jobLabel"`
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Interval string `json:"interval"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// The ServiceMonitor finds the Services for metrics, and those lead to where the modes serve them. What listens on 127.0.0.1 has none.
func TestPrometheusFindsTheModes(t *testing.T) {
	t.Parallel()
	for set, want := range map[string][]string{
		"kms.adminAddress=127.0.0.1":                                 {"mooring-dns-metrics", "mooring-manila-controller-metrics"},
		"kms.adminAddress=0.0.0.0,manila.node.adminAddress=10.0.0.1": {"mooring-dns-metrics", "mooring-kms-metrics", "mooring-manila-controller-metrics", "mooring-manila-node-fuse-metrics", "mooring-manila-node-metrics"},
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			text := everything(t, "--set", set)
			monitor := monitorOf(t, text)
			var found []string
			for _, object := range objects(t, text) {
				service, ok := object.(*corev1.Service)
				if !ok || service.Spec.Ports[0].Name != monitor.Spec.Endpoints[0].Port {
					continue
				}
				found = append(found, service.Name)
				if !covers(service.Labels, monitor.Spec.Selector.MatchLabels) || service.Labels[monitor.Spec.JobLabel] == "" {
					t.Errorf("%s has the labels %v", service.Name, service.Labels)
				}
				leadsToMetrics(t, service, text)
			}
			slices.Sort(found)
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("Services (-want +got):\n%s", diff)
			}
		})
	}
}

func monitorOf(t *testing.T, text string) (monitor serviceMonitor) {
	t.Helper()
	for document := range strings.SplitSeq(text, "\n---\n") {
		if !strings.Contains(document, "\nkind: ServiceMonitor\n") {
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(document), &monitor); err != nil {
			t.Fatal(err)
		}
	}
	if monitor.APIVersion != "monitoring.coreos.com/v1" || len(monitor.Spec.Endpoints) != 1 {
		t.Fatalf("the ServiceMonitor is %+v", monitor)
	}
	if labels, _ := monitor.Metadata["labels"].(map[string]any); labels["release"] != "prometheus" {
		t.Errorf("the ServiceMonitor has the labels %v", labels)
	}
	return monitor
}

// covers says that labels has all that the selector wants.
func covers(labels, selector map[string]string) bool {
	for key, v := range selector {
		if labels[key] != v {
			return false
		}
	}
	return len(selector) > 0
}

// leadsToMetrics follows a Service to the pods it selects: one of their containers serves --admin-listen at that port.
func leadsToMetrics(t *testing.T, service *corev1.Service, text string) {
	t.Helper()
	component := service.Spec.Selector["app.kubernetes.io/component"]
	for _, p := range pods(t, text) {
		if p.name != "mooring-"+component {
			continue
		}
		for i := range p.spec.Containers {
			if listen := value(p.spec.Containers[i].Args, "admin-listen"); strings.HasSuffix(listen, ":"+portOf(service)) {
				return
			}
		}
	}
	t.Errorf("%s leads to no admin endpoint", service.Name)
}

func portOf(service *corev1.Service) string {
	port := service.Spec.Ports[0].TargetPort
	if port.String() == "0" || port.String() == "" { // the same as the Service's
		port.IntVal = service.Spec.Ports[0].Port
	}
	return port.String()
}

// dashboard is one of Grafana's, with the fields that are looked at here.
type dashboard struct {
	UID        string `json:"uid"`
	Title      string `json:"title"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Type  string `json:"type"`
			Query string `json:"query"`
		} `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	GridPos     struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	} `json:"gridPos"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

// Each mode has a dashboard, and each metric in it is one that the mode exports.
func TestDashboardsShowMetricsThatAreThere(t *testing.T) {
	t.Parallel()
	there := map[string][]string{"manila": documented(t), "dns": documented(t), "kms": append(documented(t), scrapeKMS(t)...)}
	query := regexp.MustCompile(`^label_values\((\w+), instance\)$`)
	for component, names := range there {
		names = append(names, "process_resident_memory_bytes", "process_cpu_seconds_total")
		var d dashboard
		if err := json.Unmarshal([]byte(file(chart, "files", component+"-dashboard.json")(t)), &d); err != nil {
			t.Fatal(err)
		}
		read := []string{}
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				read = append(read, query.FindStringSubmatch(v.Query)[1])
			}
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				read = append(read, metricsOf(t, strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(target.Expr))...)
			}
		}
		if len(read) < 10 {
			t.Errorf("the dashboard of %s reads only %v", component, read)
		}
		for _, name := range read {
			histogram := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if !slices.Contains(names, name) && !slices.Contains(names, histogram) {
				t.Errorf("the dashboard of %s reads %s, which it does not export", component, name)
			}
		}
	}
}

// Panels have what Grafana wants, say what they show, and do not cover each other.
func TestDashboardsAreComplete(t *testing.T) {
	t.Parallel()
	uids := map[string]bool{}
	for _, component := range []string{"manila", "dns", "kms"} {
		var d dashboard
		if err := json.Unmarshal([]byte(file(chart, "files", component+"-dashboard.json")(t)), &d); err != nil {
			t.Fatal(err)
		}
		if d.UID == "" || d.Title == "" || uids[d.UID] {
			t.Errorf("%s has the uid %q and the title %q", component, d.UID, d.Title)
		}
		uids[d.UID] = true
		ids, taken := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || p.Title == "" || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
				t.Errorf("%s: panel %d (%s) is not complete", component, p.ID, p.Title)
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: %s is where %q is, or beyond the edge", component, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

// A ConfigMap has each dashboard as it is, with the label that Grafana's sidecar looks for.
func TestDashboardsAreInConfigMaps(t *testing.T) {
	t.Parallel()
	found := 0
	for _, object := range objects(t, everything(t)) {
		config, ok := object.(*corev1.ConfigMap)
		if !ok || config.Labels["grafana_dashboard"] != "1" {
			continue
		}
		found++
		for name, text := range config.Data {
			component := strings.TrimSuffix(strings.TrimPrefix(name, "mooring-"), ".json")
			if diff := cmp.Diff(strings.TrimSpace(file(filepath.Join(chart, "files"), component+"-dashboard.json")(t)), strings.TrimSpace(text)); diff != "" {
				t.Errorf("%s is not the file: %s", name, diff)
			}
		}
	}
	if found != 3 {
		t.Errorf("there are %d dashboards", found)
	}
}
