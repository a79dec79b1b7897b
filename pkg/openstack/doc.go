// Package openstack turns a credential into a session with an OpenStack cloud: one token, one catalog and one set of
// connections per credential, with retries, a rate budget, error classes, microversions and metrics underneath every call.
//
// A Source finds the credential (clouds.yaml with secure.yaml, or OS_* variables), a Pool keeps a Session per credential, and
// Session.Client gives the gophercloud client of a service. Logging in is lazy: a Session exists, and its process can listen,
// while Keystone can't be reached. Callers do not retry; they put Wrap around the errors of gophercloud.
package openstack
