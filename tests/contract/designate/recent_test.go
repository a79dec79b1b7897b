package designate_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"mooring/tests/contract/target"
)

// What tells the latest changes of a zone: recordsets sort by the time of their creation and of their last update, which any PUT sets and nothing
// else; what was never updated comes last, and the number of all recordsets stands on each page.
func TestRecentChanges(t *testing.T) {
	t.Parallel()
	z := open(t).zone(t)
	var ids []string
	for _, label := range []string{"a", "b", "c", "d"} {
		ids = append(ids, z.make(t, z.host(label), "A", "192.0.2.1").text("id"))
	}
	z.settle(t)
	latest := func(key string) (first, last map[string]any) {
		t.Helper()
		a := z.cloud.call(t, http.MethodGet, z.sets()+"?sort_dir=desc&limit=500&sort_key="+key, nil)
		list := a.list("recordsets")
		metadata, _ := a.body["metadata"].(map[string]any)
		if a.status != http.StatusOK || fmt.Sprint(metadata["total_count"]) != strconv.Itoa(len(list)) {
			t.Fatalf("%s", a)
		}
		previous := "9"
		for _, set := range list {
			at, _ := set[key].(string)
			if at > previous {
				t.Errorf("%s: %s after %s", key, at, previous)
			}
			if _, err := time.Parse("2006-01-02T15:04:05", at); err != nil && at != "" {
				t.Error(err)
			}
			previous = at
		}
		return list[0], list[len(list)-1]
	}
	for name, change := range map[string]map[string]any{
		"other data":    {"records": []string{"192.0.2.2"}},
		"another TTL":   {"ttl": 300},
		"the same data": {"records": []string{"192.0.2.2"}},
	} {
		time.Sleep(1100 * time.Millisecond) // the times have whole seconds
		id := ids[1]
		if a := z.cloud.call(t, http.MethodPut, z.sets()+"/"+id, change); a.status != http.StatusAccepted {
			t.Fatal(a)
		}
		before, _ := latest("updated_at")
		z.settle(t)
		after, never := latest("updated_at")
		var updated []any // our write also updates the SOA, in the same second
		for _, set := range z.cloud.call(t, http.MethodGet, z.sets()+"?sort_dir=desc&limit=2&sort_key=updated_at", nil).list("recordsets") {
			updated = append(updated, set["id"])
		}
		if len(updated) != 2 || updated[0] != id && updated[1] != id {
			t.Errorf("%s: the latest updates are of %v, want that of %s among them", name, updated, id)
		}
		if before["updated_at"] != after["updated_at"] {
			t.Errorf("%s: being ACTIVE is an update: %v, %v", name, before, after)
		}
		if never["updated_at"] != nil {
			t.Errorf("%s: what was never updated does not come last: %v", name, never)
		}
	}
	time.Sleep(1100 * time.Millisecond)
	created := z.make(t, z.host("e"), "A", "192.0.2.1")
	if first, _ := latest("created_at"); first["id"] != created.text("id") || first["updated_at"] != nil {
		t.Errorf("the latest is %v, want %s", first, created)
	}
	if a := z.cloud.call(t, http.MethodDelete, z.sets()+"/"+ids[0], nil); a.status != http.StatusAccepted {
		t.Fatal(a)
	}
	target.Eventually(t, "one less", func() bool {
		a := z.cloud.call(t, http.MethodGet, z.sets()+"?limit=1", nil)
		metadata, _ := a.body["metadata"].(map[string]any)
		return fmt.Sprint(metadata["total_count"]) == "6"
	})
}
