package chart_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// Two classes that would be one are refused, with the values to change and the class.
func TestClassesThatAreOneAreRefused(t *testing.T) {
	t.Parallel()
	for set, says := range map[string]string{
		`manila.storageClasses.nfs.name="gold",manila.storageClasses.cephfs.name="gold"`: `manila.storageClasses.nfs.name and manila.storageClasses.cephfs.name are both "gold"`,
		`manila.storageClasses.cephfs.default=true`:                                      `manila.storageClasses.nfs.default and manila.storageClasses.cephfs.default are both true: a cluster has one default class, "manila-nfs" or "manila-cephfs"`,
		`manila.volumeAttributesClasses=[{"name":"a","parameters":{"accessLevel":"ro"}},{"name":"b","parameters":{"accessLevel":"ro"}},{"name":"a","parameters":{"accessLevel":"rw"}}]`: `manila.volumeAttributesClasses[2].name and [0].name are both "a"`,
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			_, err := template(t, "--values", filepath.Join("testdata", "everything.yaml"), "--set-json", set)
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("helm says: %v", err)
			}
		})
	}
}

// What is refused of two classes is taken where there is one: the other is not made, or they are of different kinds.
func TestClassesThatDifferAreTaken(t *testing.T) {
	t.Parallel()
	for _, set := range []string{
		`manila.storageClasses.cephfs.name="manila-nfs",manila.storageClasses.cephfs.default=true,manila.storageClasses.nfs.enabled=false`,
		`manila.storageClasses.nfs.name="gold",manila.snapshots.className="gold",manila.volumeAttributesClasses=[{"name":"gold","parameters":{"accessLevel":"ro"}}]`,
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			objects(t, everything(t, "--set-json", set))
		})
	}
}
