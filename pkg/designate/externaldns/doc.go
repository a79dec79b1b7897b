// Package externaldns is the edge that serves the Designate domain to ExternalDNS: its webhook provider protocol over HTTP.
//
// The protocol is what ExternalDNS's own client does (sigs.k8s.io/external-dns/provider/webhook), which differs from the published
// OpenAPI document: exactly 200 for reads, exactly 204 after an apply, one media type; a status from 500 to 510 is a soft error, after
// which ExternalDNS goes on, and anything else makes it exit. So this edge answers 4xx only to requests that ExternalDNS can't have sent.
//
// Everything that is known of DNS names and records is in pkg/designate; here is only translation, and the one table of errors.
package externaldns
