package externaldns

import "encoding/json"

// The JSON of the protocol, as ExternalDNS's own types have it (its packages endpoint and plan). They are written here once
// more because those packages link client-go and every API type of Kubernetes; tests/contract drives us with the real client.

// endpoint is one record. Empty fields are omitted by the client, so that a missing map is the ordinary case. What Designate can't keep,
// provider-specific properties and the set identifier, is not read, so adjustendpoints gives a wanted record back without it: else it
// would differ for ever from the one that is there.
type endpoint struct {
	DNSName    string            `json:"dnsName,omitempty"`
	Targets    []string          `json:"targets,omitempty"`
	RecordType string            `json:"recordType,omitempty"`
	RecordTTL  int64             `json:"recordTTL,omitempty"` // seconds; 0: none is asked for
	Labels     map[string]string `json:"labels,omitempty"`
}

// ownedRecord is the label that the TXT registry puts on a TXT record: the name of the record that it marks.
const ownedRecord = "ownedRecord"

// changeSet is the body of POST /records. An update stands in both lists, at the same place.
type changeSet struct {
	Create    endpoints `json:"create,omitempty"`
	UpdateOld endpoints `json:"updateOld,omitempty"`
	UpdateNew endpoints `json:"updateNew,omitempty"`
	Delete    endpoints `json:"delete,omitempty"`
}

// endpoints is a list of a changeSet.
type endpoints []*endpoint

// UnmarshalJSON implements json.Unmarshaler. It begins with nothing: of a list that stands there twice the later one counts, where encoding/json would put
// the fields of both together.
func (l *endpoints) UnmarshalJSON(body []byte) error {
	var list []*endpoint
	err := json.Unmarshal(body, &list)
	*l = list
	return err
}
