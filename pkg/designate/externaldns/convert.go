package externaldns

import "mooring/pkg/designate"

// record translates an endpoint. Its labels say whose mark it is: the TXT registry puts the name of the record that a TXT record is about
// into one of them. Labels are often missing altogether: ExternalDNS omits empty maps.
func record(e *endpoint) designate.Record {
	return designate.Record{
		Name: e.DNSName, Type: designate.Type(e.RecordType), TTL: int(e.RecordTTL), Targets: e.Targets,
		Owner: e.Labels[ownedRecord],
	}
}

func records(list []*endpoint) []designate.Record {
	out := make([]designate.Record, 0, len(list))
	for _, e := range list {
		if e != nil {
			out = append(out, record(e))
		}
	}
	return out
}

func changes(c *changeSet) designate.Changes {
	return designate.Changes{Create: records(c.Create), UpdateOld: records(c.UpdateOld), UpdateNew: records(c.UpdateNew), Delete: records(c.Delete)}
}

// shown is how a record is given to ExternalDNS.
func shown(r designate.Record) *endpoint {
	return &endpoint{DNSName: r.Name, RecordType: string(r.Type), RecordTTL: int64(r.TTL), Targets: r.Targets}
}

// adjusted puts the canonical form of a record into the endpoint that it came from, whose labels are ExternalDNS's own.
func adjusted(e *endpoint, r designate.Record) *endpoint {
	out := shown(r)
	out.Labels = e.Labels
	return out
}
