package barbican_test

import (
	"net/http"
	"testing"

	"mooring/pkg/barbican"
	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/contract/target"
)

// TestDeletionGuard deletes a key that is in use, as a client does that knows nothing of its keyring and asks for the newest microversion.
// What guards it then is what init has told; on a real Barbican, whichever it is.
func TestDeletionGuard(t *testing.T) {
	t.Parallel()
	clouds := map[string]func(*testing.T) *target.Cloud{"this one": target.Open}
	for _, newest := range []string{"1.0", "1.1", "1.2"} {
		clouds[newest] = func(t *testing.T) *target.Cloud {
			t.Helper()
			return target.Simulate(t, openstacksim.Config{Barbican: openstacksim.BarbicanConfig{MaxMicroversion: newest}})
		}
	}
	want := map[string]barbican.Guard{"1.0": barbican.GuardNone, "1.1": barbican.GuardNoted, "1.2": barbican.GuardRefuses}
	for name, cloud := range clouds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			session := cloud(t).Session(t, "demo")
			a := open(t, session)
			made := owned(t, a, barbican.NewManager(barbican.NewClient(session), nil))
			if expected, known := want[name]; known && made.Guard != expected {
				t.Errorf("guard %q, want %q", made.Guard, expected)
			}
			key, container := "secrets/"+made.Key.Secret, "containers/"+made.Container
			switch made.Guard {
			case barbican.GuardRefuses:
				a.refused(t, http.StatusConflict, "Secret has consumers", http.MethodDelete, key, nil, microversion("latest"))
				a.want(t, http.StatusNoContent, http.MethodDelete, key+"?force=true", nil, microversion("latest"))
			case barbican.GuardNoted:
				if got := a.want(t, http.StatusOK, http.MethodGet, key+"/consumers", nil, microversion("latest")).list("consumers"); len(got) != 1 || got[0]["resource_id"] != made.Container {
					t.Errorf("consumers %v", got)
				}
				fallthrough
			case barbican.GuardNone:
				a.want(t, http.StatusNoContent, http.MethodDelete, key, nil, microversion("latest"))
			default:
				t.Fatalf("guard %q", made.Guard)
			}
			a.refused(t, http.StatusNotFound, "Secret not found.", http.MethodGet, key, nil, nil)
			if got := a.members(t, container); len(got) != 0 { // the keyring has lost its key in either case
				t.Errorf("members %v", got)
			}
			t.Logf("the guard is %q", made.Guard)
		})
	}
}
