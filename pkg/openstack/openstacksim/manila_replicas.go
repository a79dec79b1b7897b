package openstacksim

import (
	"net/http"
	"slices"
)

// ManilaReplica is one of the instances of a replicated share.
type ManilaReplica struct {
	Zone, Status string
	// State is active, in_sync, out_of_sync or error; empty while it is made.
	State string

	id, share string
}

// SetReplicas makes a share a replicated one with these replicas; with none it is not replicated. It is false when there is no such share.
func (m *Manila) SetReplicas(share string, replicas ...ManilaReplica) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.shares[share]
	if !ok {
		return false
	}
	s.replicas = slices.Clone(replicas)
	for i := range s.replicas {
		s.replicas[i].id, s.replicas[i].share = newUUID(), share
	}
	return true
}

func (m *Manila) replicaRoutes() []route {
	const graduated = 56 // before they are an experiment, which needs a header
	return []route{
		{pattern: "GET /v2/share-replicas", handle: m.handle(graduated, m.listReplicas(false))},
		{pattern: "GET /v2/share-replicas/detail", handle: m.handle(graduated, m.listReplicas(true))},
	}
}

// listReplicas follows _get_replicas of manila/api/v2/share_replicas.py: those of the project, or of one share of it.
func (m *Manila) listReplicas(detail bool) manilaHandler {
	return func(c *manilaCall) (manilaAnswer, error) {
		q := c.URL.Query()
		page, err := manilaPaging(q)
		if err != nil {
			return manilaAnswer{}, err
		}
		var found []*ManilaReplica
		for _, s := range m.shares {
			if s.project != c.project && !c.admin() || q.Get("share_id") != "" && q.Get("share_id") != s.id {
				continue
			}
			for i := range s.replicas {
				if s.replicas[i].State != "" {
					found = append(found, &s.replicas[i])
				}
			}
		}
		slices.SortFunc(found, func(a, b *ManilaReplica) int {
			return manilaOrder(q, manilaSortable{id: a.id}, manilaSortable{id: b.id})
		})
		views := []any{}
		for _, r := range manilaSlice(found, page) {
			view := map[string]any{"id": r.id, "share_id": r.share, "status": r.Status, "replica_state": manilaNull(r.State)}
			if detail {
				view["availability_zone"], view["share_network_id"] = manilaNull(r.Zone), nil
				view["created_at"], view["updated_at"] = manilaTime(m.shares[r.share].created), nil
			}
			views = append(views, view)
		}
		return manilaAnswer{http.StatusOK, map[string]any{"share_replicas": views}}, nil
	}
}
