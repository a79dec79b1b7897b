package main

import (
	"net/http"
	"regexp"

	"mooring/pkg/openstack/openstacksim"
)

// waits matches the paths of what an RPC waits for: a share, by its id or its name, its export locations, its access rules.
var waits = regexp.MustCompile(`^/v2/(shares/(detail|[0-9a-f-]{36}(/export_locations)?)|share-access-rules)$`)

// split counts the calls to Manila of one RPC, and its polls apart from them.
func split(log []openstacksim.Call) (calls, polls int) {
	changed := false
	for _, c := range log {
		switch {
		case c.Service != openstacksim.ServiceManila:
		case changed && c.Method == http.MethodGet && waits.MatchString(c.Path):
			polls++
		default:
			calls++
			changed = changed || c.Method != http.MethodGet
		}
	}
	return calls, polls
}
