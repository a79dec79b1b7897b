// Package designate is the DNS domain: zones and recordsets of OpenStack Designate, their canonical forms, a pure planner
// that turns wanted changes into ordered operations, and a bounded executor that carries them out.
//
// It speaks Designate's v2 API through a session of pkg/openstack and knows nothing of HTTP servers: pkg/designate/externaldns
// is the edge that serves it to ExternalDNS.
//
// The parts, each usable alone:
//
//   - name.go, rdata.go, txt.go, record.go: one canonical form for each name and each record, and its form on Designate's wire;
//   - zone.go: which zone a name belongs to, by longest suffix over all zones, usable or not;
//   - plan.go: current recordsets + wanted changes → operations in ordered phases and independent groups;
//   - apply.go: runs such a plan inside a deadline budget; queue.go says what comes next, pace.go how much at once;
//   - api.go, list.go, recent.go, limits.go: the calls to Designate, paging and the negotiation of the page size, and the cloud's limits;
//   - detector.go: whether what is known of a zone is still true, by its version and our own writes, which ledger.go counts;
//   - inventory.go: what is known of the cloud's zones, read as far as it must be and kept in step with own writes; snapshot.go is its state at one
//     time, which sets.go packs;
//   - tracker.go: follows what was written until the name servers have it; quota.go: how full zones are, and what a full one means;
//   - service.go, reading.go, writing.go: these put together for an edge;
//   - cluster.go: what to do about the records of a cluster itself, in the zone that cluster_zone.go picks; cluster_names.go does it, by writes that
//     carry a mark (marked.go), and cluster_wait.go waits for its effect;
//   - floatingip.go, address.go: the PTRs of floating IPs, and the addresses of load balancers;
//   - floating_ptr.go: those PTRs as records of a Service, with their marks.
package designate
